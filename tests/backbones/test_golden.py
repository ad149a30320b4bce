"""Our outputs are those of the official TensorFlow implementation."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import our_name, read_checkpoint, state_dict
from torch import Tensor, nn

from moat_det.backbones import MOATBackbone, create_backbone

TOLERANCE = 1e-4  # of a stage's standard deviation; the mildest wrong port is off by 4.7e-4
SHARED = Path(os.environ.get("MOAT_DET_SHARED", Path(__file__).resolve().parents[3] / "shared"))
CASES = sorted((SHARED / "golden").glob("*/*.npz"))

pytestmark = pytest.mark.skipif(not CASES, reason=f"no golden outputs in {SHARED} (set MOAT_DET_SHARED)")


@cache
def weights(folder: Path) -> dict[str, Tensor]:
    return state_dict(read_checkpoint(folder / f"{folder.name}.tar.gz"))


def load(case: Path) -> tuple[dict[str, np.ndarray], MOATBackbone, Tensor]:
    """A case's arrays, the backbone that it describes, in the case's mode, and its input."""
    arrays = dict(np.load(case))
    config = json.loads(str(arrays["config_json"]))
    backbone = create_backbone(
        "tiny_moat0",
        window=config["window_size"] or "full",
        global_attention_at_end_of_stage=config.get("global_attention_at_end_of_moat_stage", False),
        pool_size=config["pool_size"],
        position_embedding=not case.parent.name.endswith("no_pe"),
        num_classes=1000,
    )
    missing, unexpected = backbone.load_state_dict(weights(case.parent), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    image = torch.from_numpy(arrays["image_uint8"]).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    return arrays, backbone.train(config.get("training", False)), (image - mean) / std


def deviation(ours: Tensor, arrays: dict[str, np.ndarray], name: str) -> float:
    """Largest difference of a stage, in standard deviations of the stage."""
    nhwc = ours.permute(0, 2, 3, 1).numpy()
    assert list(nhwc.shape) == list(arrays[f"{name}_shape"])
    sampled = nhwc[:, arrays[f"{name}_rows"]][:, :, arrays[f"{name}_cols"]]
    largest = np.abs(sampled - arrays[name]).max()
    if f"{name}_chmean" in arrays:  # of the full map, so that the cells left out count too
        largest = max(largest, np.abs(nhwc.mean((0, 1, 2), np.float64) - arrays[f"{name}_chmean"]).max())
    return float(largest / nhwc.std())


@torch.no_grad()
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_official_outputs(case: Path) -> None:
    arrays, backbone, x = load(case)
    worst = {name: deviation(m, arrays, name) for name, m in backbone.forward_features(x).items()}
    if case.stem == "cls_native":
        logits = torch.from_numpy(arrays["logits"])
        worst["logits"] = ((backbone(x) - logits).abs().max() / logits.std()).item()
    print(f"{case.parent.name}/{case.stem}: " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    assert max(worst.values()) <= TOLERANCE


@torch.no_grad()
def test_moving_statistics_after_a_training_step() -> None:
    """The official moving variances are of the biased variance, n / (n - 1) times smaller than torch's."""
    arrays, backbone, x = load(SHARED / "golden/tiny_moat_0/train_mode_b2_128x192_full.npz")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    pixels: dict[str, int] = {}
    for name, module in backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda _, args, name=name: pixels.update({name: args[0].numel() // args[0].shape[1]})
            )
    backbone.forward_features(x)
    after = backbone.state_dict()
    for norm, n in pixels.items():
        name = f"{norm}.running_var"
        kept = 0.99 * before[name]
        after[name] = kept + (after[name] - kept) * (n - 1) / n
    updated = {our_name(key.removeprefix("updated/")): v for key, v in arrays.items() if key.startswith("updated/")}
    assert len(updated) == 2 * len(pixels)
    worst = 0.0
    for name, official in updated.items():
        step = torch.from_numpy(official) - before[name]
        assert step.abs().max() > 0
        error = (after[name] - before[name] - step).abs().max() / step.abs().max()
        worst = max(worst, error.item())
    print(f"moving statistics: {worst:.1e} of the largest step")
    assert worst < 1e-3
