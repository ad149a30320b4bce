"""Exported forms give the same numbers, with operators that every runtime has."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.variants import Variant
from moat_det.export.formats import openvino


@pytest.fixture(scope="module")
def small() -> MOATBackbone:
    """A backbone of the official parts, as shallow as can be, so that it exports in seconds."""
    torch.manual_seed(0)
    backbone = MOATBackbone(
        Variant(stem=(8, 8), depths=(1, 1, 1, 1), channels=(8, 8, 32, 64), survival=1.0, native=64),
        window=[None, None, (3, 4), "full"],
        global_attention_at_end_of_stage=False,
        pool_size=3,
        position_embedding=True,
        num_classes=None,
        drop_path=0.0,
        checkpoint_attention=False,
        in_channels=3,
    )
    for module in backbone.modules():
        if isinstance(module, Attention):
            nn.init.normal_(module.relative_position_embedding)
    return backbone.eval()


@torch.no_grad()
def test_export_and_onnx(small: MOATBackbone, tmp_path: Path) -> None:
    x, file = torch.randn(2, 3, 130, 90), tmp_path / "small.onnx"
    program = torch.export.export(small, (x,))
    assert not any("moat_det" in str(node.target) for node in program.graph.nodes)
    torch.onnx.export(program, (), file, dynamo=True, input_names=["image"], verbose=False)
    outputs = onnxruntime.InferenceSession(file).run(None, {"image": x.numpy()})
    exported = program.module()(x)
    for found, (name, expected) in zip(outputs, small(x).items(), strict=True):
        torch.testing.assert_close(exported[name], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_position_tables_stay_small_in_the_file(
    small: MOATBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.onnx"
    program = torch.export.export(small, (torch.randn(1, 3, 512, 512),))
    torch.onnx.export(program, (), file, dynamo=True, verbose=False, external_data=False)
    largest = max(np.prod(tensor.dims) for tensor in onnx.load(file).graph.initializer)
    assert largest < 16**4  # the pairs of the 16 x 16 cells at stride 32, which attend to each other
    monkeypatch.setattr(openvino.onnx, "write", lambda model, example, to: shutil.copy(file, to))
    openvino.write(None, None, tmp_path / "small.xml", "f32", None)  # type: ignore[arg-type]
    assert (tmp_path / "small.bin").stat().st_size < file.stat().st_size


@torch.no_grad()
def test_windows_that_do_not_divide_the_map_are_few_pieces(small: MOATBackbone, tmp_path: Path) -> None:
    """Padded and masked they are one batch of windows: 9 of them at 320 px, 36 at 640."""
    sizes, x = [], torch.randn(1, 3, 640, 640)
    small.set_windows([None, None, 7, 7])
    try:
        for side in (320, 640):
            file = tmp_path / f"{side}.onnx"
            program = torch.export.export(small, (x[..., :side, :side].contiguous(),))
            torch.onnx.export(program, (), file, dynamo=True, verbose=False)
            graph = onnx.load(file).graph
            sizes.append((len(graph.node), len(graph.initializer)))
    finally:
        small.set_windows([None, None, (3, 4), "full"])
    assert sizes[0] == sizes[1]
    assert sizes[1][1] < 200


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:FutureWarning")
def test_torchscript(small: MOATBackbone) -> None:
    x = torch.randn(1, 3, 64, 96)
    traced = torch.jit.trace(small, x, strict=False)
    assert not any("moat_det" in node.kind() for node in traced.inlined_graph.nodes())
    for name, expected in small(x).items():
        torch.testing.assert_close(traced(x)[name], expected, rtol=1e-4, atol=1e-5)
