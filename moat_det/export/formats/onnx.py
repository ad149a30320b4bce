"""ONNX, by torch's exporter over torch.export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import opset18
from torch import Tensor

from moat_det.export.graph import INPUT, OUTPUT, Predictions, quiet, trace

# LayerNormalization came with 17. From 19 on onnxruntime computes Resize on the CPU where the rest is on a GPU.
OPSET = 18

SCOPES = "pkg.torch.onnx.name_scopes"
"""The property of a node that names the modules it came from."""


def write(model: Predictions, example: Tensor, file: Path) -> None:
    """Write the file; the numbers in it are float32.

    Raises:
        OSError: It cannot be written.
    """
    program = trace(model, example)
    with torch.no_grad(), quiet():
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.gelu.default: _gelu},
            verbose=False,
        )
    assert exported is not None
    exported.save(str(file))


def _gelu(x: Any, approximate: str = "none") -> Any:
    """Write GELU in the order of factors that onnxruntime knows as one operation; torch's own order it does not."""
    return opset18.Mul(opset18.Mul(x, opset18.Add(opset18.Erf(opset18.Div(x, math.sqrt(2))), 1.0)), 0.5)


def nodes_below(file: Path, module: str) -> list[str]:
    """Name the nodes of a file that came from a module, such as "detector.model.head", or from one in it."""
    graph = onnx.load(str(file), load_external_data=False).graph
    scopes = {node.name: {p.key: p.value for p in node.metadata_props}.get(SCOPES, "") for node in graph.node}
    return [name for name, scope in scopes.items() if f"'{module}'" in scope]


def first_convolutions(file: Path, count: int) -> list[str]:
    """Name the first convolutions of a file, which is in the order of its computation."""
    graph = onnx.load(str(file), load_external_data=False).graph
    return [node.name for node in graph.node if node.op_type == "Conv"][:count]
