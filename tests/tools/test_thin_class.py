"""A class that is made rare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.datasets import open_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.errors import UserError
from tools.thin_class import main, thin

IMAGES = [
    LabelledImage(f"{number}.png", 8, 8, np.array([number % 2, 2]), np.array([[0.0, 0, 4, 4], [4, 4, 8, 8]]))
    for number in range(10)
]


def test_so_many_images_with_the_class_stay_and_all_others() -> None:
    left = thin(IMAGES, 1, 2, seed=0)
    assert [image for image in left if 1 not in image.classes] == IMAGES[::2]
    assert sum(1 in image.classes for image in left) == 2
    assert [int(image.path[:-4]) for image in left] == sorted(int(image.path[:-4]) for image in left)
    assert [image.path for image in left] == [image.path for image in thin(IMAGES, 1, 2, seed=0)]
    assert len({tuple(image.path for image in thin(IMAGES, 1, 2, seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("count", [0, 5])
def test_a_count_that_thins_nothing_or_leaves_none_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"--images {count}: 5 training images have the class"):
        thin(IMAGES, 1, count, seed=0)


def test_a_set_is_written_that_a_training_reads(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_set({f"{number}.png": f"{number % 2} 0.5 0.5 0.2 0.2\n" for number in range(8)})
    words = ["--data", str(data), "--out", str(tmp_path / "thin"), "--images", "1"]
    assert main([*words, "--name", "bolt"]) == 2
    assert "--name bolt" in capsys.readouterr().err
    assert main([*words, "--name", "pit"]) == 0
    made = open_dataset(Path(capsys.readouterr().out.strip()))
    assert len(made.im_files) == 5
