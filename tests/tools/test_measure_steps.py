from __future__ import annotations

from types import ModuleType

import pytest
import torch


def test_every_setting_is_a_row_and_the_first_is_the_measure(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([2.0, 6.0, 3.0, 8.0, 4.0, 5.0, 1.0])
    monkeypatch.setattr(tool, "run_tool", lambda *_, **__: {"wall": (now := next(seconds)), "cpu": now / 2})
    assert tool.main(["--models", "tiny_moat0", "--turns", "1"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == [
        *("as in moat train", "contiguous_format", "memory given back", "oneDNN's gradient"),
        *("float32", "float32, contiguous_format", "float32, memory given back"),
    ]
    assert [row[3] for row in rows] == ["1.00", "3.00", "1.50", "4.00", "2.00", "2.50", "0.50"]


@pytest.mark.parametrize("changed", [{}, {"layout": "contiguous_format"}, {"gradient": "oneDNN's"}])
def test_a_setting_is_what_is_computed(tool: ModuleType, changed: dict[str, str]) -> None:
    seen: list[tuple[bool, str]] = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1 and module.stride[0] == 2:
            node = output.grad_fn
            assert node is not None
            seen.append((inputs[0].is_contiguous(memory_format=torch.channels_last), node.name()))

    hook = torch.nn.modules.module.register_module_forward_hook(watch)  # type: ignore[arg-type]
    try:
        taken = tool.time_steps(tool.Setting("tiny_moat0", memory=False, **changed), imgsz=64, batch=2, steps=1)
    finally:
        hook.remove()
    assert taken["wall"] > 0
    assert {last for last, _ in seen} == {"layout" not in changed}
    assert {"StridedDepthwise" in name for _, name in seen} == {"gradient" not in changed}


@pytest.mark.parametrize("words", [["--models", "nope"], ["--imgsz", "50"], ["--batch", "0"], ["--turns", "0"]])
def test_what_cannot_be_measured_is_refused_at_once(
    tool: ModuleType, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "run_tool", lambda *_, **__: pytest.fail("measured"))
    assert tool.main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert words[1] in said[0]
