"""What is unusual about the image files of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from moat_det.checks.decode import ImageFacts
from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample
from moat_det.messages import as_number

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"}
_SUFFIXES = {
    "JPEG": _JPEG,
    "MPO": _JPEG,
    "PNG": {".apng", ".png"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}

_Grouped = list[tuple[Sample, str]]


def image_faults(samples: Sequence[Sample], channels: int = 3) -> Iterator[Fault]:
    """Tell what is unusual about the images of one split.

    Args:
        samples: Of the split, with their facts.
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
            yield Fault("deep_image", sample.split, sample.image, f"{facts.dtype}, up to {as_number(facts.highest)}")
        if facts.pictures > 1 and channels in {1, 3}:
            yield Fault("several_pictures", sample.split, sample.image, f"{facts.pictures}", image=sample.image)
        if facts.turned:
            yield Fault("turned_by_exif", sample.split, sample.image, image=sample.image)
        if path.suffix != suffix:
            yield Fault("upper_case_suffix", sample.split, sample.image)
        if facts.kind in _SUFFIXES and suffix not in _SUFFIXES[facts.kind]:
            yield Fault("wrong_suffix", sample.split, sample.image, f"is a {facts.kind}")
    bands = [(s, f"{f.channels} channels") for s, f in _readable(samples)]
    yield from _unlike_most("mixed_channels", bands, bands)


def depth_faults(splits: Mapping[str, Sequence[Sample]], intensity: str) -> Iterator[Fault]:
    """Tell which images are of another depth or sample type than most of train: its intensities are for all splits.

    Args:
        splits: The samples by split, with their facts.
        intensity: The kind of the dataset's intensity: "image" and "window" take integers and floating samples side by
            side.
    """
    for samples in splits.values():
        train = splits.get("train") or samples
        yield from _unlike_most("mixed_depths", _depths(samples), _depths(train))
        if intensity not in {"image", "window"}:
            eight_bits = [(sample, "integers") for sample in train]
            yield from _unlike_most("mixed_sample_types", _types(samples), _types(train) or eight_bits)


def _readable(samples: Sequence[Sample]) -> list[tuple[Sample, ImageFacts]]:
    return [(sample, facts) for sample in samples if (facts := sample.readable)]


def _depths(samples: Sequence[Sample]) -> _Grouped:
    return [(s, "more than 8 bits" if f.deep else "8 bits") for s, f in _readable(samples)]


def _types(samples: Sequence[Sample]) -> _Grouped:
    """Give the sample types of images of more than 8 bits, which alone are mapped."""
    deep = [(sample, facts) for sample, facts in _readable(samples) if facts.deep]
    return [(s, "floating samples" if f.dtype.startswith("float") else "integers") for s, f in deep]


def _unlike_most(kind: str, groups: _Grouped, others: _Grouped) -> Iterator[Fault]:
    """Give a fault for each sample that is not of the most common group among the others."""
    counts = Counter(group for _, group in others)
    common = counts.most_common(1)[0][0] if counts else None
    for sample, group in groups:
        if common not in {None, group}:
            yield Fault(kind, sample.split, sample.image, f"{group}, where most have {common}", image=sample.image)
