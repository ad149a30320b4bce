"""Window policies: what a user may ask for as attention windows, and how it is spelt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from moat_det.errors import UserError
from moat_det.values import is_count

TOKEN_BUDGET = 16_384
"""Cells of a map that "auto" leaves in one window: an image of 2048 x 2048 has as many at stride 16, of 4096 x 4096 at
stride 32. Attention takes time for a cell in proportion to its window: the budget bounds what a large image costs."""

ATTENTION_STRIDES = (16, 32)

POSITIONS = ("stretch", "clamp")
"""What becomes of the position tables in windows larger than the training's."""

WINDOW = "attention windows: full, auto, auto:TOKENS, trained, N or HxW cells, or a list of four, one per stage"
"""What the option --window takes."""


@dataclass(frozen=True)
class AutoWindow:
    """The whole map as long as it has no more cells than `tokens`, else an even part of it."""

    tokens: int


Window: TypeAlias = tuple[int, int] | AutoWindow | None
"""Rows and columns of a window in cells of the map, or a rule for them; None is the whole map."""

WindowSpec: TypeAlias = str | int | Sequence[int] | Sequence[str | int | Sequence[int] | None]


def read_window(value: WindowSpec) -> WindowSpec:
    """Read attention windows as a command line, a YAML or Python spells them.

    Args:
        value: What `parse_windows` takes; or text: its words, "14", "14x28" (rows x columns), or a
            list of four in YAML or JSON, one per stage, "[null, null, 14x28, 7]".

    Returns:
        What `parse_windows` takes, of plain types.

    Raises:
        UserError: It is none of these.
    """
    window = _read_policy(value)
    try:
        parse_windows(window, trained_size=(32, 32))
    except UserError:
        raise UserError(
            f"--window {value}: give full, auto, auto:TOKENS, trained, 14, 14x28 (rows x columns), or a list, "
            "one for each stage, '[null, null, 14, full]'"
        ) from None
    return window


def _read_policy(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_read_policy(part) for part in value]
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        try:
            return _read_policy(yaml.safe_load(value))
        except yaml.YAMLError:
            raise UserError(f"window {value}: no list in YAML or JSON; write [null, null, 14, 7]") from None
    if value.isdecimal():
        return int(value)
    rows, times, columns = value.lower().partition("x")
    return [int(rows), int(columns)] if times and rows.isdecimal() and columns.isdecimal() else value


def parse_windows(spec: WindowSpec, trained_size: tuple[int, int] | None = None) -> tuple[Window, Window]:
    """Turn what the user wrote into the windows of the two attention stages (strides 16 and 32).

    Args:
        spec: One policy for both stages, or a list of four, one per stage: of which the first two have no attention, so
            that theirs are None, and None for a later one is "full". A policy is

            - "full": the whole map;
            - "auto", "auto:TOKENS": the whole map up to so many cells (`TOKEN_BUDGET`), else its largest even part;
            - "trained": as large as the whole map of an image of `trained_size`;
            - an int or (h, w): so many cells.
        trained_size: Height and width in pixels of the images of the training.

    Raises:
        UserError: The value is none of these, or "trained" without a `trained_size`.
    """
    *_, at16, at32 = stage_windows(spec, (None, None, *ATTENTION_STRIDES), trained_size)
    return at16, at32


def stage_windows(
    spec: WindowSpec, reductions: Sequence[int | None], trained_size: tuple[int, int] | None = None
) -> list[Window]:
    """Turn what the user wrote into the windows of the stages of any backbone.

    Args:
        spec: What `parse_windows` takes; a list is one policy for each stage, and two numbers are rows and columns.
        reductions: Pixels per cell of the map of each stage; None where it does not attend.
        trained_size: As there.

    Returns:
        A window for each stage; None for the whole map, and where it does not attend.

    Raises:
        UserError: As there.
    """
    policies: list[object] = [spec] * len(reductions)
    is_pair = isinstance(spec, (list, tuple)) and len(spec) == 2 and all(type(side) is int for side in spec)
    if isinstance(spec, (list, tuple)) and len(spec) == len(reductions) and not is_pair:
        idle = [
            i for i, (policy, r) in enumerate(zip(spec, reductions, strict=True), 1) if r is None and policy is not None
        ]
        if idle:
            raise UserError(f"window {spec!r}: {_stages(idle)} no attention; write None for them")
        policies = ["full" if policy is None else policy for policy in spec]
    return [None if r is None else _parse(p, spec, r, trained_size) for p, r in zip(policies, reductions, strict=True)]


def _stages(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"stage {numbers[0]} has"
    return f"stages {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} have"


def _parse(policy: object, spec: object, stride: int, trained_size: tuple[int, int] | None) -> Window:
    if policy == "full":
        return None
    if policy == "auto":
        return AutoWindow(TOKEN_BUDGET)
    if policy == "trained":
        if trained_size is None:
            raise UserError(
                f"window {spec!r}: the size of the images of the training is not known here; "
                "give the windows' own size, or a model that was trained"
            )
        return map_size(trained_size, stride)
    if isinstance(policy, str):
        name, _, tokens = policy.partition(":")
        if name == "auto" and tokens.isdecimal() and int(tokens) > 0:
            return AutoWindow(int(tokens))
    pair = (policy, policy) if isinstance(policy, int) else policy
    if isinstance(pair, (list, tuple)) and len(pair) == 2:
        h, w = pair
        if is_count(h) and is_count(w):
            return h, w
    raise UserError(
        f'window {spec!r}: give "full", "auto", "auto:TOKENS", "trained", a positive int, (h, w), or one of these or '
        "None for each of the four stages, such as [None, None, (14, 14), None]"
    )


def map_size(image: tuple[int, int], stride: int) -> tuple[int, int]:
    """Give rows and columns of the map at a stride, of an image of so many rows and columns of pixels."""
    return -(-image[0] // stride), -(-image[1] // stride)
