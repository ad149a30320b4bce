"""The files of a validation's images, which its labels know by name only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.errors import UserError
from moat_det.evaluation.ground_truth import name_images, number_images

_Found = dict[str, LabelledImage]


def find_files(
    images: Sequence[Mapping[str, Any]], splits: Mapping[str, Sequence[LabelledImage]]
) -> dict[str, LabelledImage]:
    """Find the file of each image of a validation among those of a dataset's splits.

    The names that a validation gives are those of its split, all of them: a split, or several together, that has
    exactly these comes before one that has these and more. Names of a user's own are the ends of paths.

    Args:
        images: Entries of a COCO dictionary.
        splits: The images by split.

    Returns:
        By `file_name`, the image of the dataset.

    Raises:
        UserError: An image is not there, or there twice; or several splits have them all, in the same sizes.
    """
    unions = [
        {image.path: image for part in parts for image in part}
        for number in range(1, len(splits) + 1)
        for parts in combinations(splits.values(), number)
    ]
    exact = [found for union in unions if (found := _by_names(images, union)) is not None]
    ends = [] if exact else [each for each in (_by_ends(images, union) for union in unions) if isinstance(each, dict)]
    fitting = {tuple(image.path for image in found.values()): found for found in (*exact, *ends)}
    if not fitting:
        problem = _by_ends(images, unions[-1] if unions else {})
        raise UserError(f"{problem}; give the dataset that was validated as --data")
    if len(fitting) > 1:
        of_these_sizes = {paths: found for paths, found in fitting.items() if _have_sizes(images, found)}
        fitting = of_these_sizes if len(of_these_sizes) == 1 else fitting
    first, *others = fitting.values()
    if others:
        name = next(name for name in first if first[name].path != others[0][name].path)
        raise UserError(
            f"{name}: may be {first[name].path} or {others[0][name].path}, as two splits have images of all these "
            "names; give as --data a YAML that has the validated split alone, as its train and val"
        )
    return first


def _by_names(images: Iterable[Mapping[str, Any]], union: Mapping[str, LabelledImage]) -> _Found | None:
    """Give the images where the names of all in the union are exactly these."""
    by_path = {Path(path): image for path, image in union.items()}
    paths = list(number_images(by_path))
    files = dict(zip(name_images(paths), paths, strict=True))
    names = [str(image["file_name"]) for image in images]
    return {name: by_path[files[name]] for name in names} if set(names) == files.keys() else None


def _by_ends(images: Iterable[Mapping[str, Any]], union: Mapping[str, LabelledImage]) -> _Found | str:
    """Give the images whose paths end in these names, or what is wrong."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in union:
        by_name[Path(path).name].append(path)
    found: _Found = {}
    for image in images:
        name = str(image["file_name"])
        parts = Path(name.replace("\\", "/")).parts
        fitting = [path for path in by_name[parts[-1]] if Path(path).parts[-len(parts) :] == parts]
        if len(fitting) != 1:
            return f"{name}: {len(fitting) or 'no'} images of the dataset have this name"
        found[name] = union[fitting[0]]
    return found


def _have_sizes(images: Iterable[Mapping[str, Any]], found: _Found) -> bool:
    """Whether the files have the sizes of the images, as far as these say them."""
    return all(
        image.get(side, getattr(file, side)) == getattr(file, side)
        for image in images
        for file in [found[str(image["file_name"])]]
        for side in ("width", "height")
    )
