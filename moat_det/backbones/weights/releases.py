"""The 18 checkpoints that were released with MOAT: nine variants, with and without position embedding."""

from __future__ import annotations

from dataclasses import dataclass

BASE_URL = "https://storage.googleapis.com/gresearch/tf-deeplab/checkpoint/"


@dataclass(frozen=True)
class Release:
    """A released checkpoint of a classifier; the figures are the official ones.

    Attributes:
        name: Our name: the variant's, with `_no_pe` where there is no position embedding.
        variant: One of `list_backbones()`.
        position_embedding: Whether attention has position tables.
        size: Side of the images in pixels.
        data: What it was trained on.
        params: Millions of parameters, the head of 1000 classes included.
        flops: Billions of multiply-adds for an image of that size.
        top1: Accuracy on ImageNet-1K's validation images in percent.
    """

    name: str
    variant: str
    position_embedding: bool
    size: int
    data: str
    params: float
    flops: float
    top1: float

    @property
    def archives(self) -> tuple[str, str]:
        """Names of the archive: of November 2022, and of the first release, which lacks batch norm's statistics."""
        data = "imagenet_1k" if self.data == "ImageNet-1K" else "imagenet_22k_and_1k"
        stem = f"{self.variant}_{data}_{self.size}"
        newer, older = ("w", "with") if self.position_embedding else ("wo", "without")
        return f"{stem}_{newer}_position_embedding.tar.gz", f"{stem}_{older}_position_embedding.tar.gz"

    def urls(self, base: str = BASE_URL) -> tuple[str, str]:
        """Give where the archives lie, at Google or below the URL of a mirror."""
        newer, older = self.archives
        return f"{base.rstrip('/')}/{newer}", f"{base.rstrip('/')}/{older}"


def _release(
    variant: str, position_embedding: bool, size: int, data: str, params: float, flops: float, top1: float
) -> Release:
    name = release_name(variant, position_embedding)
    return Release(name, variant, position_embedding, size, data, params, flops, top1)


def release_name(variant: str, position_embedding: bool) -> str:
    """Give the key in `RELEASED` of a variant with or without position embedding."""
    return variant if position_embedding else f"{variant}_no_pe"


_1K = "ImageNet-1K"
_22K = "ImageNet-22K + 1K"
_ROWS = (
    _release("moat0", True, 224, _1K, 27.8, 5.7, 83.3),
    _release("moat1", True, 224, _1K, 41.6, 9.1, 84.2),
    _release("moat2", True, 384, _22K, 73.4, 54.3, 87.5),
    _release("moat3", True, 512, _22K, 190.0, 271.0, 88.4),
    _release("moat4", True, 512, _22K, 483.2, 648.5, 89.1),
    _release("moat0", False, 224, _1K, 27.8, 5.7, 83.0),
    _release("moat1", False, 224, _1K, 41.5, 9.1, 84.1),
    _release("moat2", False, 384, _22K, 73.2, 53.8, 87.2),
    _release("moat3", False, 512, _22K, 189.5, 266.1, 88.2),
    _release("moat4", False, 512, _22K, 482.5, 640.6, 88.9),
    _release("tiny_moat0", True, 256, _1K, 3.4, 1.1, 76.6),
    _release("tiny_moat1", True, 256, _1K, 5.1, 1.6, 79.2),
    _release("tiny_moat2", True, 256, _1K, 9.8, 3.0, 81.7),
    _release("tiny_moat3", True, 256, _1K, 19.5, 6.0, 83.2),
    _release("tiny_moat0", False, 256, _1K, 3.3, 1.1, 76.0),
    _release("tiny_moat1", False, 256, _1K, 5.1, 1.6, 78.9),
    _release("tiny_moat2", False, 256, _1K, 9.7, 3.0, 81.3),
    _release("tiny_moat3", False, 256, _1K, 19.5, 6.0, 83.0),
)

RELEASED: dict[str, Release] = {row.name: row for row in _ROWS}
"""Every released checkpoint by our name for it."""
