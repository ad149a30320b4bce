"""The options of a classifier's training."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.options import option
from moat_det.pretraining.options import check_range


@dataclass(frozen=True)
class ClassifierOptions:
    """The classifier and its pictures.

    Raises:
        UserError: A value is out of its range.
    """

    data: str = option(
        "", "a folder with train/ and val/, each with a folder for each class; or such folders alone; or a YAML"
    )
    split: float | None = option(None, "share of each class kept for validation, where there is no val/")
    backbone: str = option("tiny_moat0", "by name (tiny_moat2, mobilevit_xs, timm/NAME), or a model YAML")
    weights: str | None = option(None, "start the backbone from imagenet, a released checkpoint or a file of weights")
    imgsz: int = option(224, "side of the square that a picture becomes, in pixels")
    view: float | None = option(
        None,
        "part of the shorter side that the square in the middle takes in validation and use, such as 0.875 "
        "(default: the whole picture, squeezed into the square)",
    )
    drop_path: float | None = option(None, "rate of dropped branches, stochastic depth (default: the backbone's own)")

    def __post_init__(self) -> None:
        """Check the values."""
        check_range("imgsz", self.imgsz, 8, 4096)
        if self.view is not None:
            check_range("view", self.view, 0, 1, above=True)
        if self.drop_path is not None:
            check_range("drop_path", self.drop_path, 0, 1, below=True)
