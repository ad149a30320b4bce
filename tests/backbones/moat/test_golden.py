"""Our outputs are those of the official TensorFlow implementation, from the official checkpoint format on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moat_det.backbones.moat.parity import compare_case

SHARED = Path(os.environ.get("MOAT_DET_SHARED", Path(__file__).resolve().parents[4] / "shared"))
CASES = sorted((SHARED / "golden").glob("*/*.npz"))

pytestmark = pytest.mark.skipif(not CASES, reason=f"no golden outputs in {SHARED} (set MOAT_DET_SHARED)")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_official_outputs(case: Path) -> None:
    differences = compare_case(case)
    print(", ".join(f"{output} {difference.relative:.1e}" for output, difference in differences.items()))
    more = {"cls_native": {"logits"}, "train_mode_b2_128x192_full": {"statistics"}}.get(case.stem, set())
    assert differences.keys() == {f"stage{i}" for i in range(1, 6)} | more
    for output, difference in differences.items():
        assert difference.relative <= (1e-3 if output == "statistics" else 1e-4), output
