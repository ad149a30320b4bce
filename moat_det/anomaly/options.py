"""What a user may say of heat maps."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.errors import UserError
from moat_det.options import option

PNG, NPY = "png", "npy"


@dataclass(frozen=True)
class HeatmapOptions:
    """Options of a detection with heat maps.

    Attributes:
        heatmap: Compare each image with good parts, beside detecting in it.
        good_parts: Images of good parts, as a source names images, or the bank (.npz) that an earlier run made of them.
        save_maps: Write the maps as numbers too: "png", 16 bits, or "npy", float32.

    Raises:
        UserError: A value is none of these, or another option is missing.
    """

    heatmap: bool = option(False, "mark what looks unlike good parts, whether or not it was ever labelled")
    good_parts: str | None = option(
        None,
        "with --heatmap: images of good parts (folder, glob, list file), or the bank.npz made of them",
        metavar="PATH",
    )
    save_maps: str | None = option(None, "with --heatmap: write the maps as numbers too", takes="png | npy")

    def __post_init__(self) -> None:
        """Check the values."""
        if self.heatmap and not self.good_parts:
            raise UserError(
                "--heatmap: needs --good-parts, a folder of images of good parts, or the bank.npz made of it"
            )
        for name in ("good_parts", "save_maps"):
            if getattr(self, name) and not self.heatmap:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} {getattr(self, name)}: belongs to --heatmap; add it, or leave {flag} out")
        if self.save_maps not in (None, PNG, NPY):
            raise UserError(f"--save-maps {self.save_maps}: must be {PNG} (16 bits) or {NPY} (float32)")
