from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from moat_det import MOAT
from moat_det.engine import device
from moat_det.errors import UserError


def no_compiler() -> None:
    raise RuntimeError("no working C++ compiler")


def test_a_missing_compiler_is_said_instead_of_running_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", no_compiler)
    with pytest.raises(UserError, match=r"C\+\+ compiler"):
        MOAT("tiny_moat0").predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, compile=True)
    with pytest.raises(UserError, match=r"C\+\+ compiler"):
        device.compile_model(nn.Identity(), torch.device("cpu"), "default")


def test_only_the_flag_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "g++")
    model = nn.Identity()
    assert device.compile_model(model, torch.device("cpu"), False) is model
    assert device.compile_model(model, torch.device("cpu"), None) is model
    compiled = device.compile_model(model, torch.device("cpu"), True)
    assert compiled is not model
    assert compiled._orig_mod is model
