"""INT8: what becomes bytes, what stays as it is, and that nothing is sent."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from moat_det.export.calibration import Calibration
from moat_det.export.formats import onnx
from moat_det.export.graph import quiet
from moat_det.export.quantize import quantize


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.head = Head()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x.float() / 255).relu())


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8)


def test_the_head_stays_as_it_is_and_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*args: object) -> None:
        raise AssertionError(f"it connects to {args}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    torch.manual_seed(0)
    file = tmp_path / "model.onnx"
    with quiet():
        torch.onnx.export(
            Model().eval(), (torch.zeros(1, 3, 16, 16, dtype=torch.uint8),), file, dynamo=True, verbose=False
        )
    head = onnx.nodes_below(file, "head")
    assert len(head) >= 1
    model = quantize(openvino.Core().read_model(file), Calibration(range(4), noise), head)
    convolutions = [each for each in model.get_ops() if each.get_type_name() == "Convolution"]
    assert len(convolutions) == 2
    for each in convolutions:
        in_bytes = each.input_value(0).get_node().get_type_name() == "FakeQuantize"
        assert in_bytes == (each.get_friendly_name().split("/")[0] not in head)
    assert any(each.get_friendly_name().split("/")[0] in head for each in convolutions)
    assert sys.modules["openvino_telemetry"] is None
