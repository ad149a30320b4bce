"""Plots of a dataset: classes, sizes and shapes of boxes and images."""

from __future__ import annotations

import io
import warnings

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moat_det.checks.boxes import LARGEST_ASPECT, SMALLEST_SIDE
from moat_det.checks.run import Check
from moat_det.data.config import SPLITS
from moat_det.report.fonts import families
from moat_det.report.palette import LINE_COLOURS

_COLOURS: dict[str, str] = dict(zip(SPLITS, LINE_COLOURS, strict=False))
_MAX_CLASSES = 40


def overview_png(check: Check) -> bytes:
    """Draw boxes by class, box sizes, box aspects and image sizes of each split into one PNG."""
    figure = Figure(figsize=(14, 9))
    (classes, sizes), (aspects, images) = figure.subplots(2, 2)
    _draw_classes(classes, check)
    for split, samples in check.samples.items():
        known = [image for sample in samples if (image := sample.labelled)]
        boxes = np.concatenate([np.zeros((0, 4)), *(image.boxes[~image.ignored] for image in known)])
        sides = boxes[:, 2:] - boxes[:, :2]
        style = {"s": 6, "alpha": 0.4, "color": _COLOURS[split], "label": split}
        sizes.scatter(sides[:, 0], sides[:, 1], **style)
        ratio = sides.max(axis=1, initial=0) / np.maximum(sides.min(axis=1, initial=np.inf), 1e-3)
        bins = np.geomspace(1, max(2 * LARGEST_ASPECT, ratio.max(initial=1)), 40)
        aspects.hist(ratio, bins=bins, color=_COLOURS[split], alpha=0.6, label=split)
        shapes = np.array([(image.width, image.height) for image in known]).reshape(-1, 2)
        images.scatter(shapes[:, 0], shapes[:, 1], **{**style, "s": 20})
    sizes.axvline(SMALLEST_SIDE, color="0.6", linewidth=0.8)
    sizes.axhline(SMALLEST_SIDE, color="0.6", linewidth=0.8)
    sizes.set(title="box sizes", xlabel="width in pixels", ylabel="height in pixels", xscale="log", yscale="log")
    aspects.axvline(LARGEST_ASPECT, color="0.6", linewidth=0.8)
    aspects.set(title="box aspects", xlabel="longer / shorter side", ylabel="boxes", xscale="log")
    images.set(title="image sizes", xlabel="width in pixels", ylabel="height in pixels")
    images.margins(0.2)
    for axes in (classes, sizes, aspects, images):
        axes.legend()
    figure.subplots_adjust(0.06, 0.07, 0.98, 0.95, wspace=0.15, hspace=0.4)  # a layout engine takes twice the time
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of letters that no font has, which is said already
        figure.savefig(out, format="png", dpi=80)
    return out.getvalue()


def _draw_classes(axes: Axes, check: Check) -> None:
    names = list(check.data["names"].values())[:_MAX_CLASSES]
    width = 0.8 / max(len(check.counts), 1)
    for position, (split, counts) in enumerate(check.counts.items()):
        axes.bar(
            np.arange(len(names)) + position * width, counts[: len(names)], width, color=_COLOURS[split], label=split
        )
    labels = [name[:16].replace("$", r"\$") for name in names]
    axes.set_xticks(np.arange(len(names)) + 0.4 - width / 2, labels, rotation=45, ha="right", family=families(labels))
    axes.set(title="boxes by class", ylabel="boxes")
