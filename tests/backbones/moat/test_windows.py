"""Window policies: what may be asked for, and which window a map gets."""

from __future__ import annotations

import logging

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_det.backbones import MOATBackbone, create_backbone
from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.partition import cut, even_split, join, tiles, window_for
from moat_det.backbones.windows import TOKEN_BUDGET, AutoWindow, parse_windows
from moat_det.errors import UserError


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("full", (None, None)),
        ("auto", (AutoWindow(TOKEN_BUDGET), AutoWindow(TOKEN_BUDGET))),
        ("auto:900", (AutoWindow(900), AutoWindow(900))),
        ("trained", ((20, 41), (10, 21))),
        (8, ((8, 8), (8, 8))),
        ([6, 9], ((6, 9), (6, 9))),
        ([None, None, (14, 14), [7, 8]], ((14, 14), (7, 8))),
        ([None, None, 14, None], ((14, 14), None)),
        ([None, None, "auto:100", "full"], (AutoWindow(100), None)),
        ([None, None, "trained", 7], ((20, 41), (7, 7))),
    ],
)
def test_policies(spec: object, expected: object) -> None:
    assert parse_windows(spec, trained_size=(320, 642)) == expected
    assert parse_windows(yaml.safe_load(yaml.safe_dump(plain(spec))), trained_size=(320, 642)) == expected


def plain(spec: object) -> object:
    """As in a YAML, which has lists alone."""
    return [plain(part) for part in spec] if isinstance(spec, (list, tuple)) else spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("trained", "window 'trained': the size of the images of the training is not known"),
        ([None, None, "trained", 7], "'trained'.* not known"),
        ("auto:", "window 'auto:': give"),
        ("auto:0", "window 'auto:0'"),
        ("auto:-5", "window 'auto:-5'"),
        ("automatic", "window 'automatic'"),
        ([None, None, "14", 7], "window"),
        (["full", None, 14, 7], "no attention"),
    ],
)
def test_refusals_are_one_line(spec: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse_windows(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "cols", "tokens", "window"),
    [
        (128, 128, 16_384, (128, 128)),  # fits
        (256, 256, 16_384, (128, 128)),
        (256, 256, 16_383, (128, 86)),  # three across rather than a shorter side of 86 on both axes
        (280, 280, 16_384, (140, 94)),  # six windows of which none is a thin strip, rather than five
        (100, 200, 16_384, (100, 100)),
        (20, 1000, 16_384, (20, 500)),  # a strip cannot be split into squares: the fewest windows
        (1000, 3, 100, (33, 3)),
        (7, 7, 1, (1, 1)),
    ],
)
def test_even_split(rows: int, cols: int, tokens: int, window: tuple[int, int]) -> None:
    assert even_split(rows, cols, tokens) == window


@settings(deadline=None)
@given(rows=st.integers(1, 90), cols=st.integers(1, 90), tokens=st.integers(1, 3000))
def test_even_split_keeps_the_budget_and_wastes_nothing(rows: int, cols: int, tokens: int) -> None:
    h, w = even_split(rows, cols, tokens)
    assert h * w <= tokens
    assert h <= rows
    assert w <= cols
    # even: as many windows of a size one smaller would not cover the map
    for length, window in ((rows, h), (cols, w)):
        windows = -(-length // window)
        assert windows * (window - 1) < length
    # no split into windows with a longer shorter side keeps the budget
    shorter = min(h, w) + 1
    assert shorter * shorter > tokens or shorter > min(rows, cols) or not _splits(rows, cols, tokens, shorter)


def _splits(rows: int, cols: int, tokens: int, shorter: int) -> bool:
    """Whether some even split has windows of at most so many tokens, with both sides at least `shorter`."""
    heights = {-(-rows // n) for n in range(1, rows + 1)}
    widths = {-(-cols // n) for n in range(1, cols + 1)}
    return any(h * w <= tokens for h in heights for w in widths if min(h, w) >= shorter)


def test_a_split_is_said_once_for_each_size(caplog: pytest.LogCaptureFixture) -> None:
    even_split.cache_clear()
    with caplog.at_level(logging.INFO, "moat_det"):
        for _ in range(3):
            window_for(AutoWindow(50), (9, 9))
            window_for(AutoWindow(50), (7, 7))
    assert caplog.messages == ["Attention: a map of 9 x 9 cells exceeds 50; windows of 9 x 5 (2 of them)"]


@given(length=st.integers(1, 60), window=st.integers(1, 70))
def test_tiles_cover_an_axis(length: int, window: int) -> None:
    parts = tiles(length, window)
    assert [cell for part, _ in parts for cell in range(part.start, part.stop)] == list(range(length))
    assert all((part.stop - part.start) % size == 0 for part, size in parts)
    assert all(size == window for part, size in parts[:-1])


def test_join_undoes_cut() -> None:
    x = torch.randn(2, 12, 9, 3)
    tokens = cut(x, (4, 3))
    assert tokens.shape == (2 * 3 * 3, 12, 3)
    assert torch.equal(tokens[1].view(4, 3, 3), x[0, :4, 3:6])
    assert torch.equal(join(tokens, (4, 3), (12, 9)), x)


def windows_and_reach(backbone: MOATBackbone) -> list[list[tuple[object, object]]]:
    return [[(m.window, m.reach) for m in stage.modules() if isinstance(m, Attention)] for stage in backbone.stages[2:]]


def test_windows_of_a_built_backbone_change() -> None:
    with torch.device("meta"):
        backbone = create_backbone("tiny_moat0", window=5)
    backbone.set_windows("trained", trained_size=(320, 640))
    assert windows_and_reach(backbone) == [[((20, 40), None)] * 7, [((10, 20), None)] * 2]
    backbone.set_windows([None, None, "auto", None], trained_size=(320, 650), position="clamp")
    assert windows_and_reach(backbone) == [[(AutoWindow(TOKEN_BUDGET), (20, 41))] * 7, [(None, (10, 21))] * 2]
    backbone.set_windows("full")
    assert windows_and_reach(backbone) == [[(None, None)] * 7, [(None, None)] * 2]


def test_the_end_of_a_stage_keeps_the_whole_map() -> None:
    with torch.device("meta"):
        backbone = create_backbone("tiny_moat0", window=5, global_attention_at_end_of_stage=True)
    backbone.set_windows((6, 7), trained_size=(64, 64), position="clamp")
    expected = [[((6, 7), (4, 4))] * 6 + [(None, (4, 4))], [((6, 7), (2, 2)), (None, (2, 2))]]
    assert windows_and_reach(backbone) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": "trained"}, "not known"),
        ({"window": "full", "position": "clamp"}, 'position "clamp".* not known'),
        ({"window": "full", "position": "crop"}, 'position \'crop\': give "stretch" or "clamp"'),
        ({"window": "nothing"}, "window 'nothing'"),
    ],
)
def test_refused_changes_change_nothing(arguments: dict[str, str], message: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone("tiny_moat0", window=5)
    before = windows_and_reach(backbone)
    with pytest.raises(UserError, match=message):
        backbone.set_windows(**arguments)
    assert windows_and_reach(backbone) == before


@torch.no_grad()
def test_policies_agree_where_they_mean_the_same() -> None:
    """On an image of the training's size every policy is the whole map, stretched; beyond it they differ."""
    torch.manual_seed(0)
    backbone = create_backbone("tiny_moat0").eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith("relative_position_embedding"):
            torch.nn.init.normal_(parameter, std=3)
        elif parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    policies = [("full", "stretch"), ("full", "clamp"), ("trained", "stretch"), ("auto:24", "stretch")]
    outputs: dict[int, list[torch.Tensor]] = {}
    for width in (96, 224):
        x = torch.randn(1, 3, 64, width)
        outputs[width] = []
        for window, position in policies:
            backbone.set_windows(window, trained_size=(64, 96), position=position)
            outputs[width].append(backbone(x)["stage5"])
    assert all(torch.equal(y, outputs[96][0]) for y in outputs[96])
    for first, y in enumerate(outputs[224]):
        for other in outputs[224][:first]:
            assert (y - other).abs().max() > 1e-3 * y.std()
