"""What is unusual about the image files of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"}
_SUFFIXES = {
    "JPEG": _JPEG,
    "MPO": _JPEG,
    "PNG": {".apng", ".png"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}


def image_faults(samples: Sequence[Sample], intensity: str, channels: int = 3) -> Iterator[Fault]:
    """Tell what is unusual about the images of one split.

    Args:
        samples: Of the split, with their facts.
        intensity: The kind of the dataset's intensity: only "image" takes integers and floating samples side by side.
        channels: Of the dataset's images; the pages of one with other than 1 or 3 are its bands.
    """
    for sample in samples:
        facts, path = sample.facts, Path(sample.image)
        assert facts is not None
        if facts.error:
            kind = "truncated_image" if facts.truncated else "unreadable_image"
            yield Fault(kind, sample.split, sample.image, facts.error)
            continue
        suffix = path.suffix.lower()
        if facts.deep:
            yield Fault("deep_image", sample.split, sample.image, f"{facts.dtype}, up to {facts.highest:g}")
        if facts.pictures > 1 and channels in {1, 3}:
            yield Fault("several_pictures", sample.split, sample.image, f"{facts.pictures}", image=sample.image)
        if facts.turned:
            yield Fault("turned_by_exif", sample.split, sample.image, image=sample.image)
        if path.suffix != suffix:
            yield Fault("upper_case_suffix", sample.split, sample.image)
        if facts.kind in _SUFFIXES and suffix not in _SUFFIXES[facts.kind]:
            yield Fault("wrong_suffix", sample.split, sample.image, f"is a {facts.kind}")
    good = [(sample, facts) for sample in samples if (facts := sample.readable)]
    yield from _minority("mixed_channels", [(s, f"{f.channels} channels") for s, f in good])
    yield from _minority("mixed_depths", [(s, "more than 8 bits" if f.deep else "8 bits") for s, f in good])
    if intensity != "image":
        types = [(s, "floating" if f.dtype.startswith("float") else "integer") for s, f in good if f.deep]
        yield from _minority("mixed_sample_types", types)


def _minority(kind: str, groups: Sequence[tuple[Sample, str]]) -> Iterator[Fault]:
    """Give a fault for each sample that is not of the most common group."""
    counts = Counter(group for _, group in groups)
    if len(counts) < 2:
        return
    common = counts.most_common(1)[0][0]
    for sample, group in groups:
        if group != common:
            yield Fault(kind, sample.split, sample.image, f"{group}, where most have {common}", image=sample.image)
