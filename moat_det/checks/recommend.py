"""What to train a dataset with, each with its reason."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moat_det.checks.balance import IMBALANCE
from moat_det.checks.decode import ImageFacts
from moat_det.checks.samples import Sample
from moat_det.data.config import DatasetConfig
from moat_det.messages import as_number

# Training sizes to choose from, in pixels; larger ones take long, and inference goes beyond the training's size anyhow.
_SIZES = (640, 960, 1280)
# Of the engine's `DEFAULT_BACKBONE`, so that the level is all that changes.
_WITH_LEVEL = {"P2": "tiny_moat2-p2", "P6": "tiny_moat2-p6"}
_ENOUGH_SIDE = 8  # pixels: one cell of P3, the finest level of the usual detector
# Pixels, two cells of P3: on boards P2 brought 4 to 10 points of AP for boxes narrower than 20 px, and none above.
_NARROW_SIDE = 16
_LONG_SIDE = 512  # pixels: sixteen cells of P5, the coarsest level
_FEW_NARROW = 0.1  # what P2 brings for fewer is less than seeds differ by
_FEW_LONG = 0.05
_MOST = 0.9
_SQUARE = 1.25  # sides that differ by less are padded to a square
_FULL_WINDOW_PIXELS = 2048 * 2048
# Of the strongest edges, those along the rows and columns: measured 0.50 to 0.57 on boards, 0.24 to 0.27 on steel and
# cells; 0.22 is chance.
_BOARD_EDGES = 0.4


@dataclass(frozen=True)
class Recommendation:
    """One piece of advice.

    Attributes:
        topic: What it is about.
        advice: What to do.
        reason: Why, with the number.
        options: Words for the command line of `moat train`; empty where it is for another place.
    """

    topic: str
    advice: str
    reason: str
    options: tuple[str, ...] = ()


def command(data: DatasetConfig, recommendations: Sequence[Recommendation]) -> str:
    """Give the command line that follows all recommendations."""
    words = ["moat", "train", "--data", data["yaml_file"], *(w for r in recommendations for w in r.options)]
    return shlex.join(words)


def recommend(
    data: DatasetConfig, samples: Mapping[str, Sequence[Sample]], counts: Mapping[str, np.ndarray]
) -> list[Recommendation]:
    """Derive settings from the sizes of images and boxes of train, or of all splits where it has none."""
    members = samples.get("train") or [sample for part in samples.values() for sample in part]
    facts = [known for sample in members if (known := sample.readable)]
    if not facts:
        return []
    shapes = np.array([(item.height, item.width) for item in facts])
    # Sides as shares of the longer side of the image, which is what is scaled to the training size.
    found = [np.zeros((0, 2))]
    for image in (image for sample in members if (image := sample.labelled)):
        boxes = image.boxes[~image.ignored]
        found.append((boxes[:, 2:] - boxes[:, :2]) / max(image.height, image.width))
    sides = np.sort(np.concatenate(found), axis=1)
    longest = int(np.median(shapes.max(axis=1)))
    size, size_reason = _choose_size(sides[:, 0], longest)
    advice = _choose_levels(sides * size)
    unit = 64 if any("-p6" in word for item in advice for word in item.options) else 32
    advice.insert(0, _choose_shape(shapes, size, unit, size_reason))
    advice += _choose_window(shapes, sides[:, 0], size)
    advice += _choose_intensity(data, facts)
    advice.append(_choose_augmentation(facts))
    advice += _choose_copy_paste(data["names"], counts)
    return advice


def _choose_size(short_sides: np.ndarray, longest: int) -> tuple[int, str]:
    """Give the training size of the longer side, before rounding, and why."""
    if longest <= _SIZES[0]:
        return longest, f"the images have {longest} px, and none are thrown away"
    candidates = [size for size in _SIZES if size < longest] + ([longest] if longest <= _SIZES[-1] else [])
    for size in candidates:
        share = float((short_sides * size >= _ENOUGH_SIDE).mean()) if len(short_sides) else 1.0
        if share >= _MOST:
            return (
                size,
                f"at {size} px {share:.0%} of the boxes are at least {_ENOUGH_SIDE} px wide (images: {longest})",
            )
    size = candidates[-1]
    return size, f"at {size} px only {share:.0%} of the boxes are at least {_ENOUGH_SIDE} px wide (images: {longest})"


def _choose_shape(shapes: np.ndarray, size: int, unit: int, reason: str) -> Recommendation:
    aspects = shapes[:, 1] / shapes[:, 0]
    median = float(np.median(aspects))
    alike = float((np.abs(np.log(aspects / median)) < np.log(1.1)).mean())
    longer = _round_up(size, unit)
    if max(median, 1 / median) < _SQUARE or alike < _MOST:
        if alike < _MOST:
            reason += f"; shapes differ ({1 - alike:.0%} are off the median of {median:.2f} wide to high)"
        return Recommendation("image size", f"train at {longer} x {longer}", reason, ("--imgsz", str(longer)))
    shorter = _round_up(size / max(median, 1 / median), unit)
    height, width = (shorter, longer) if median > 1 else (longer, shorter)
    saved = 1 - height * width / longer**2
    reason += (
        f"; {alike:.0%} of the images are {median:.2f} times as wide as high: a square would be {saved:.0%} padding"
    )
    words = ("--imgsz", str(height), str(width))
    return Recommendation("image size", f"train at {height} x {width} (height, width)", reason, words)


def _choose_levels(sides: np.ndarray) -> list[Recommendation]:
    if not len(sides):
        return []
    small, long = float((sides[:, 0] < _NARROW_SIDE).mean()), float((sides[:, 1] > _LONG_SIDE).mean())
    narrow = f"{small:.0%} of the boxes are narrower than {_NARROW_SIDE} px at that size"
    wide = f"{long:.0%} are longer than {_LONG_SIDE} px"
    if small >= _FEW_NARROW:
        return [_add_level("P2", f"{narrow}, {wide}")]
    if long >= _FEW_LONG:
        return [_add_level("P6", f"{wide}, {narrow}")]
    reason = f"{narrow}, {wide}: P2 and P6 would cost time for nothing"
    return [Recommendation("levels", "the usual P3 to P5", reason)]


def _add_level(level: str, reason: str) -> Recommendation:
    model = _WITH_LEVEL[level]
    return Recommendation("levels", f"add {level}: {model} is the usual model with it", reason, ("--model", model))


def _choose_window(shapes: np.ndarray, short_sides: np.ndarray, size: int) -> list[Recommendation]:
    """Detect at the scale of the training; the window matters where that is the images' own."""
    pixels = int(shapes.prod(axis=1).max())
    height, width = shapes[shapes.prod(axis=1).argmax()]
    if max(height, width) <= _SIZES[-1]:
        return []
    native = "--imgsz native --window trained"
    if len(short_sides) and (short_sides * size >= _ENOUGH_SIDE).mean() < _MOST:
        advice = f"train on crops at their own scale, of up to {_SIZES[-1]} px; then validate and detect with {native}"
        reason = f"images reach {height} x {width} px, and scaled to {size} px many boxes are too small"
    else:
        advice = f"validate and detect at the size of the training; {native} after a training on crops"
        times = max(height, width) / size
        reason = f"images reach {height} x {width} px: native, objects are {times:.1f} times as large as in training"
    if pixels > _FULL_WINDOW_PIXELS:
        reason += "; attention over a whole image (full) takes a minute and more on a CPU"
    return [Recommendation("large images", advice, reason)]


def _choose_intensity(data: DatasetConfig, facts: Sequence[ImageFacts]) -> list[Recommendation]:
    deep = [item for item in facts if item.deep]
    if not deep:
        return []
    highest = max(item.highest for item in deep)
    floats = sum(item.dtype.startswith("float") for item in deep)
    reason = f"{len(deep)} images have more than 8 bits, samples reach {as_number(highest)}"
    advice = "'intensity: image' in the dataset YAML" if 0 < floats < len(deep) else "'intensity: auto' (the default)"
    if data["intensity"].kind == "full" and not floats and highest < np.iinfo(deep[0].dtype).max / 4:
        reason += ": 'full' leaves few of the gray levels"
    return [Recommendation("intensity", f"{advice} for the range that the training images have", reason)]


def _choose_augmentation(facts: Sequence[ImageFacts]) -> Recommendation:
    share = float(np.median([item.axis_share for item in facts]))
    preset = "board" if share >= _BOARD_EDGES else "surface"
    reason = (
        f"{share:.0%} of the strong edges run along rows and columns (boards: over {_BOARD_EDGES:.0%}, chance: 22%)"
    )
    return Recommendation("augmentation", f"the preset {preset}", reason, ("--augmentation", preset))


def _choose_copy_paste(names: Mapping[int, str], counts: Mapping[str, np.ndarray]) -> list[Recommendation]:
    train = counts.get("train", np.zeros(0))
    rare = [cls for cls in names if len(train) and 0 < train[cls] * IMBALANCE <= train.max()]
    if not rare:
        return []
    listing = ", ".join(f"{names[cls]} ({train[cls]})" for cls in rare[:5])
    reason = f"rare in train: {listing}; the most common class has {train.max()} boxes"
    return [Recommendation("rare classes", "paste defects into good parts", reason, ("--copy-paste", "0.5"))]


def _round_up(size: float, unit: int) -> int:
    return int(-(-size // unit) * unit)
