"""The precision-recall curve and the confusion matrix as pictures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from moat_det.evaluation.coco import CocoMetrics
from moat_det.files import atomic_path
from moat_det.report.fonts import families
from moat_det.report.palette import LINE_COLOURS

_DPI = 150
_MAX_LABEL = 24


def plot_precision_recall(path: Path, metrics: CocoMetrics) -> None:
    """Draw precision over recall at IoU 0.5, a line per class and their mean.

    Up to twelve classes have a colour or dash pattern of their own. With more, all are gray but the six of
    the lowest AP50, which are the ones worth a look.

    Args:
        path: The picture to write, atomically; its suffix says the format.
        metrics: Classes without objects have no line.
    """
    recall = np.linspace(0, 1, metrics.precision_at_50.shape[1])
    curves = {
        name: curve for name, curve in zip(metrics.per_class, metrics.precision_at_50, strict=True) if curve[0] > -1
    }
    named = list(curves)
    if len(curves) > 2 * len(LINE_COLOURS):
        named = sorted(curves, key=lambda name: metrics.per_class[name]["AP50"])[: len(LINE_COLOURS)]

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        if name not in named:
            axes.plot(recall, curve, color="0.75", linewidth=0.8)
    handles, labels = [], []
    if len(curves) != 1:
        mean = np.mean(list(curves.values()), axis=0) if curves else np.zeros_like(recall)
        handles += axes.plot(recall, mean, color="black", linewidth=3, zorder=3)
        labels.append(f"{max(metrics.AP50, 0):.3f}  mean of {len(curves)} classes")
    for position, name in enumerate(named):
        style = "-" if position < len(LINE_COLOURS) else "--"
        colour = LINE_COLOURS[position % len(LINE_COLOURS)]
        handles += axes.plot(recall, curves[name], color=colour, linestyle=style, linewidth=1.6)
        labels.append(f"{metrics.per_class[name]['AP50']:.3f}  {_shorten(name)}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Recall", ylabel="Precision", title="Precision-recall at IoU 0.5")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    title = "AP50" if len(named) == len(curves) else "AP50, mean and lowest"
    legend = figure.legend(handles, labels, loc="outside right upper", title=title, alignment="left", frameon=False)
    save_figure(figure, path, legend.get_texts())


def plot_confusion_matrix(path: Path, matrix: np.ndarray, labels: Sequence[str], conf: float) -> None:
    """Draw the confusion matrix: counts as numbers, shares of the true class as colour.

    Args:
        path: The picture to write, atomically; its suffix says the format.
        matrix: (K + 1, K + 1) counts from `confusion_matrix`.
        labels: The K names, without the background.
        conf: The score from which on detections were counted, for the title.
    """
    shares = matrix / np.maximum(matrix.sum(axis=0, keepdims=True), 1)
    shares[:, -1] = 0  # Nobody counted the background, so it has no whole to have a share of.
    title = f"Confusion at IoU 0.5, confidence ≥ {conf:g}\nColour: share of the true class"
    _draw_counts(path, matrix, shares, [*labels, "background"], title)


def plot_class_confusion(path: Path, matrix: np.ndarray, labels: Sequence[str]) -> None:
    """Draw the confusion matrix of a classifier, as `plot_confusion_matrix` does.

    Args:
        path: The picture to write, atomically; its suffix says the format.
        matrix: (K, K) counts, rows predicted, columns true.
        labels: The K names.
    """
    shares = matrix / np.maximum(matrix.sum(axis=0, keepdims=True), 1)
    _draw_counts(path, matrix, shares, labels, "Confusion\nColour: share of the true class")


def _draw_counts(path: Path, matrix: np.ndarray, shares: np.ndarray, labels: Sequence[str], title: str) -> None:
    ticks = [*map(_shorten, labels)]
    count = len(ticks)
    side = float(np.clip(0.45 * count, 3.2, 18))
    figure = Figure(figsize=(side + 2, side + 2), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(count), ticks, rotation=90 if count > 2 else 0)
    axes.set_yticks(range(count), ticks)
    axes.set(xlabel="True", ylabel="Predicted")
    axes.set_title(title, fontsize=11)
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    # Five digits fill a cell at this size.
    size = min(11.0, 72 * 0.8 * side / count / 3)
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=size)
    save_figure(figure, path, [*axes.get_xticklabels(), *axes.get_yticklabels()])


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_LABEL else name[: _MAX_LABEL - 1] + "…"


def save_figure(figure: Figure, path: Path, names: Sequence[Text] = ()) -> None:
    """Write a picture, atomically; its suffix says the format.

    Args:
        figure: The picture.
        path: Where to.
        names: Its texts that come from the user: a dollar sign in them is no formula, and any script may be.
    """
    family = families(text.get_text() for text in names)
    for text in names:
        text.set_parse_math(False)
        text.set_fontfamily(family)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of letters that no font has, which is said already
        figure.savefig(temporary, dpi=_DPI, bbox_inches="tight")
