from __future__ import annotations

from pathlib import Path

import pytest

from moat_det.backbones.weights import RELEASED
from tools.count_flops import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table() -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda text: lines.extend(text.splitlines()))
        main([])
    return lines


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_every_figure_is_the_official_one(table: list[str]) -> None:
    """Parameters to the last digit that was published; multiply-adds within 3 %."""
    assert [cells(row)[0].strip("`") for row in table[2:]] == list(RELEASED)
    for row, release in zip(table[2:], RELEASED.values(), strict=True):
        *_, parameters, _, flops, differ, products, archive = cells(row)
        assert round(int(parameters.replace(",", "")) / 1e6, 1) == release.params, release.name
        ours = float(flops.removesuffix(" G"))
        assert ours == pytest.approx(release.flops, rel=0.03), release.name
        assert 100 * (ours / release.flops - 1) == pytest.approx(float(differ.removesuffix(" %")), abs=0.11)
        assert float(products.removesuffix(" G")) < ours
        assert archive.strip("`") == release.archives[0]


def test_the_table_in_the_docs_is_this_one(table: list[str]) -> None:
    assert "\n".join(table) in (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
