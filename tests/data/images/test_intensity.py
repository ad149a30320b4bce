"""Samples of more than 8 bits: what survives on the way to the model's input."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.patches import imread

from moat_det.data.images.choose_intensity import SAMPLED_IMAGES, check_intensity, choose_intensity
from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.intensity import Intensity, ranges
from moat_det.data.of_model import settle_intensity
from moat_det.errors import UserError

DTYPES = [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64]
ENDS = st.floats(-1e6, 1e6)
WINDOWS = st.tuples(ENDS, ENDS).filter(lambda pair: pair[0] < pair[1])


def window(lo: float, hi: float) -> Intensity:
    return Intensity("window", ((lo, hi),))


def ramp(levels: int, dtype: type = np.uint16) -> np.ndarray:
    return np.arange(levels).astype(dtype).reshape(-1, 64, 1)


# The mapping


@pytest.mark.parametrize(
    ("intensity", "levels"),
    [(window(0, 4095), 256), (Intensity("image"), 256), (Intensity("auto"), 256), (Intensity("full"), 17)],
)
def test_gray_levels_of_12_bits_that_survive(intensity: Intensity, levels: int) -> None:
    assert len(np.unique(intensity.to_uint8(ramp(4096)))) == levels


def test_the_engines_reader_keeps_16_levels_of_12_bits(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp(4096)[..., 0])
    assert len(np.unique(imread(tmp_path / "ramp.png"))) == 16


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_window_of_up_to_256_values_loses_none(dtype: type) -> None:
    samples = 1000 + ramp(256, dtype)
    assert np.array_equal(window(1000, 1255).to_uint8(samples), ramp(256, np.uint8))


@settings(deadline=None, max_examples=100)
@given(WINDOWS, st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=50))
def test_brighter_stays_brighter(ends: tuple[float, float], values: list[float]) -> None:
    samples = np.array(sorted(values))[:, None, None]
    mapped = window(*ends).to_uint8(samples)[:, 0, 0].astype(int)
    assert (np.diff(mapped) >= 0).all()
    assert (mapped[samples[:, 0, 0] <= ends[0]] == 0).all()
    assert (mapped[samples[:, 0, 0] >= ends[1]] == 255).all()


@settings(deadline=None, max_examples=50)
@given(WINDOWS, st.integers(0, 2**32 - 1))
def test_the_table_of_16_bits_and_the_formula_agree(ends: tuple[float, float], seed: int) -> None:
    samples = np.random.default_rng(seed).integers(0, 2**16, (8, 8, 1)).astype(np.uint16)
    assert np.array_equal(window(*ends).to_uint8(samples), window(*ends).to_uint8(samples.astype(np.float64)))


@pytest.mark.parametrize(("bands", "kind"), [(1, "uint16"), (3, "uint16"), (5, "uint16"), (1, "float32"), (1, "int32")])
def test_the_range_of_an_image_is_what_the_tensor_contract_says(bands: int, kind: str) -> None:
    random = np.random.default_rng(bands)
    image = (random.normal(3000, 600, (900, 1150, bands)) + 500 * np.arange(bands)).astype(kind)
    if kind == "float32":
        image[0, 0], image[0, 2], image[0, 4] = np.nan, np.inf, -np.inf
    expected = np.zeros(image.shape, np.uint8)
    for together in [slice(None)] if bands in {1, 3} else [slice(band, band + 1) for band in range(bands)]:
        part = image[..., together]
        pixels = part.reshape(-1, part.shape[2])
        counted = pixels[:: math.ceil(len(pixels) / 1_000_000)].reshape(-1)
        counted = np.sort(counted[np.isfinite(counted)])
        lo = counted[math.floor(0.0001 * (len(counted) - 1))]
        hi = counted[math.ceil(0.9999 * (len(counted) - 1))]
        numbers = np.where(np.isnan(part), lo, part).astype(np.float64 if kind == "int32" else np.float32)
        expected[..., together] = np.rint((np.clip(numbers, lo, hi) - lo) / (hi - lo) * 255)
    assert np.array_equal(Intensity("image").to_uint8(image), expected)


@pytest.mark.parametrize("kind", ["auto", "image", "full"])
def test_8_bits_stay_as_they_are(kind: str) -> None:
    image = ramp(64, np.uint8)
    assert Intensity(kind).to_uint8(image) is image


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["auto", "image"])
def test_a_constant_image_is_black(kind: str, dtype: type) -> None:
    assert not Intensity(kind).to_uint8(np.full((8, 8, 1), 77, dtype)).any()


@pytest.mark.parametrize("intensity", [window(1, 2), Intensity("image")])
def test_what_is_no_number_becomes_an_end(intensity: Intensity) -> None:
    samples = np.linspace(1, 2, 64, dtype=np.float32).reshape(8, 8, 1)
    samples[0, 1:4, 0] = np.nan, np.inf, -np.inf
    mapped = intensity.to_uint8(samples)
    assert mapped[0, 1:4, 0].tolist() == [0, 255, 0]
    assert mapped[-1, -1, 0] == 255
    assert not intensity.to_uint8(np.full((4, 4, 1), np.nan, np.float32)).any()


def test_a_hot_pixel_does_not_darken_the_image() -> None:
    image = np.random.default_rng(0).integers(1000, 2000, (200, 200, 1)).astype(np.uint16)
    image[7, 7] = 65535
    assert len(np.unique(Intensity("image").to_uint8(image))) == 256


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_small_defect_on_a_background_without_noise_is_seen(dtype: type) -> None:
    image = np.full((1000, 1200, 1), 5).astype(dtype)
    image[500, 601:603] = 3000  # every second column counts
    mapped = Intensity("image").to_uint8(image)
    assert mapped[500, 601:603].tolist() == [[255], [255]]
    assert mapped.sum(dtype=int) == 2 * 255


def test_full_takes_the_range_of_the_type() -> None:
    ends = np.array([-32768, 32767], np.int16)[:, None, None]
    assert Intensity("full").to_uint8(ends).reshape(-1).tolist() == [0, 255]
    with pytest.raises(UserError, match="no meaning for floating samples"):
        Intensity("full").to_uint8(np.zeros((4, 4, 1), np.float32))


def test_colours_share_a_window_and_bands_do_not() -> None:
    low = np.random.default_rng(0).integers(0, 100, (1000, 1))
    colours, bands = np.hstack([low, low + 900, low]), np.hstack([low, low + 900])
    assert ranges(colours, colours) == ((0, 999),)
    assert ranges(bands, bands) == ((0, 99), (900, 999))
    image = np.hstack([low, low + 900]).reshape(10, 100, 2).astype(np.uint16)
    mapped = Intensity("image").to_uint8(image)
    assert np.array_equal(mapped[..., 0], mapped[..., 1])
    with pytest.raises(UserError, match="images of 2 bands"):
        Intensity("window", ((0, 1),) * 3).to_uint8(image)


# In the dataset YAML and the checkpoint


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Intensity("auto")),
        ("auto", Intensity("auto")),
        ("image", Intensity("image")),
        ("full", Intensity("full")),
        ([0, 4095], window(0, 4095)),
        ([-0.5, 0.5], window(-0.5, 0.5)),
        ([[0, 1], [0, 9]], Intensity("window", ((0, 1), (0, 9)))),
    ],
)
def test_what_a_yaml_may_say(value: Any, expected: Intensity) -> None:
    assert Intensity.parse(value, "data.yaml") == expected
    assert Intensity.from_dict(expected.to_dict()) == expected


@pytest.mark.parametrize(
    "value",
    ["12", "window", 12, True, [], [1], [1, 1], [2, 1], [0, "9"], [0, True], [0, float("nan")], [[0, 1], 2], {}],
)
def test_what_it_may_not(value: Any) -> None:
    with pytest.raises(UserError, match=r"^data.yaml: 'intensity: .*' is none of auto, image, full"):
        Intensity.parse(value, "data.yaml")


# The training split


def write(folder: Path, count: int, low: int = 0, high: int = 4096, dtype: type = np.uint16) -> list[Path]:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    files = [folder / f"{i}.tif" for i in range(count)]
    for file in files:
        cv2.imwrite(str(file), random.integers(low, high, (40, 60)).astype(dtype))
    return files


def test_auto_takes_the_range_of_the_training_images(tmp_path: Path, log: list[str]) -> None:
    files = write(tmp_path, 4, 500, 3500)
    chosen = choose_intensity(Intensity(), files, prefix="train: ")
    ((lo, hi),) = chosen.windows
    assert chosen.kind == "auto"
    assert 500 <= lo <= 503
    assert 3496 <= hi <= 3499
    assert f"train: intensity: auto [{lo:g}, {hi:g}]" in log[-1]
    assert choose_intensity(Intensity(), files) == chosen
    assert choose_intensity(chosen, write(tmp_path / "others", 2)) == chosen


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_auto_of_backgrounds_without_noise_takes_in_the_defects(tmp_path: Path, dtype: type, log: list[str]) -> None:
    files = [tmp_path / f"{number}.tif" for number in range(3)]
    for file in files:
        image = np.zeros((600, 800), dtype)
        image[10, 10] = 50000  # one of the pixels that are hardly ever among those that count
        cv2.imwrite(str(file), image)
    assert choose_intensity(Intensity(), files).windows == ((0, 50000),)
    assert not any("far outside" in line for line in log)


@pytest.mark.parametrize(("defect", "far"), [(60000, True), (0, True), (1250, False)])
def test_auto_tells_of_defects_far_outside_of_the_window(
    tmp_path: Path, defect: int, far: bool, log: list[str]
) -> None:
    files = write(tmp_path, 3, 1000, 1200)
    for file in files:
        image = np.tile(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), (20, 20))
        image[10, 10] = defect
        cv2.imwrite(str(file), image)
    ((lo, hi),) = choose_intensity(Intensity(), files, prefix="train: ").windows
    assert 1000 <= lo < hi < 1200
    low, high = min(defect, 1000), max(defect, 1199)
    warned = [line for line in log if "far outside" in line]
    assert len(warned) == far
    if far:
        assert "train: intensity: a few samples of the training images lie far outside of auto [" in warned[0]
        assert f"'intensity: [{low}, {high}]'" in warned[0]


def test_images_of_8_bits_and_broken_ones_say_nothing(tmp_path: Path) -> None:
    files = write(tmp_path / "deep", 2, 500, 3500)
    alone = choose_intensity(Intensity(), files)
    broken = tmp_path / "broken.tif"
    broken.write_bytes(files[0].read_bytes()[:200])
    shallow = write(tmp_path / "shallow", 2, 0, 256, np.uint8)
    assert choose_intensity(Intensity(), shallow) == Intensity()
    ((lo, hi),) = choose_intensity(Intensity(), [*shallow, broken, *files, tmp_path / "gone.tif"]).windows
    assert (lo, hi) == pytest.approx(alone.windows[0], abs=3)


def test_gray_among_colour(tmp_path: Path) -> None:
    files = write(tmp_path, 2, 500, 3500)
    cv2.imwrite(str(tmp_path / "c.png"), np.full((40, 60, 3), 4000, np.uint16))
    ((_, hi),) = choose_intensity(Intensity(), [*files, tmp_path / "c.png"]).windows
    assert hi == 4000


def test_windows_for_another_number_of_bands_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for images of 1 bands"):
        choose_intensity(Intensity("window", ((0, 1),) * 2), write(tmp_path, 1))


def test_few_images_are_read_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = write(tmp_path, 1)
    reads: list[Path] = []
    image = np.zeros((4, 4, 1), np.uint16)
    monkeypatch.setattr(
        "moat_det.data.images.choose_intensity.read_image", lambda path, _: (reads.append(path), image)[1]
    )
    choose_intensity(Intensity(), [file] * 1000)
    assert len(reads) == SAMPLED_IMAGES


def test_integers_beside_floating_samples_are_refused(tmp_path: Path) -> None:
    files = write(tmp_path / "a", 1) + write(tmp_path / "b", 1, dtype=np.float32)
    with pytest.raises(UserError, match="intensity: image"):
        choose_intensity(Intensity(), files)
    for serves_both in (Intensity("image"), window(0, 60000)):
        assert choose_intensity(serves_both, files) == serves_both


def test_samples_that_cannot_be_mapped_are_refused_before_work_begins(tmp_path: Path) -> None:
    whole, floating = write(tmp_path / "a", 2), write(tmp_path / "b", 1, dtype=np.float32)
    check_intensity(Intensity("full"), [str(file) for file in whole], deep=2)
    files = [str(tmp_path / "gone.tif"), *map(str, whole + floating)]
    with pytest.raises(UserError, match=r"b/0\.tif: intensity: full has no meaning for floating samples"):
        check_intensity(Intensity("full"), files, deep=3)
    check_intensity(Intensity("image"), files, deep=3)


@pytest.mark.parametrize(("trained", "other"), [(np.uint16, np.float32), (np.float32, np.uint16)])
def test_the_range_of_integers_is_not_that_of_floating_samples(tmp_path: Path, trained: type, other: type) -> None:
    learnt, measured = write(tmp_path / "a", 1, dtype=trained), write(tmp_path / "b", 1, dtype=other)
    chosen = choose_intensity(Intensity(), learnt)
    kept = Intensity.from_dict(chosen.to_dict())
    assert kept == chosen
    check_intensity(kept, [str(file) for file in learnt], deep=1)
    has = "floating samples" if trained is np.uint16 else "integers"
    with pytest.raises(
        UserError, match=rf"b/0\.tif: it has {has}, where the training images had .* 'intensity: image'"
    ):
        check_intensity(kept, [str(file) for file in measured], deep=1)
    older = {key: value for key, value in chosen.to_dict().items() if key != "floating"}
    assert Intensity.from_dict(older).to_dict() == older
    check_intensity(Intensity.from_dict(older), [str(file) for file in measured], deep=1)


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        (Intensity("full"), "full leaves 17 gray levels and cuts off 0.0%"),
        (window(0, 2047), r"\[0, 2047\] leaves 256 gray levels and cuts off 5"),
        (window(0, 65535), "leaves 17 gray levels"),
        (window(0, 4095), ""),
        (window(100, 4095), "cuts off 2"),
        (window(0, 8000), ""),
    ],
)
def test_a_choice_that_loses_much_is_warned_of(tmp_path: Path, log: list[str], given: Intensity, warned: str) -> None:
    assert choose_intensity(given, write(tmp_path, 4)) == given
    assert any(re.search(warned, message) for message in log) if warned else not any("gray" in line for line in log)


# A run of a trained model


def test_a_run_tells_once_of_a_depth_that_the_training_did_not_have(log: list[str]) -> None:
    shallow, deep = np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 1), np.uint16)
    trained = Intensity("auto", ((1200, 2400),), floating=False)
    run = intensity_of_run(trained)
    for image in (deep, shallow, shallow):
        run.to_uint8(image)
    (line,) = log
    assert (
        "images of 8 bits, which stay as they are; the training had images of more, whose range is auto [1200, 2400]"
        in line
    )
    log.clear()
    assert settle_intensity(trained, ["a.png", "b.png"], deep=0, prefix="val: ") == trained
    (line,) = log
    assert "val: 2 images have 8 bits per sample and stay as they are; the training had images of more" in line
    log.clear()
    for intensity in (Intensity(), Intensity("full"), Intensity("image"), window(0, 4095)):
        intensity_of_run(intensity).to_uint8(shallow)
        settle_intensity(intensity, ["a.png"], deep=0)
    assert not log


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0, 1_000_000), "[0, 1000000]"),
        ((-1_234_567, 2**32 - 1), "[-1234567, 4294967295]"),
        ((0.25, 999_999.75), "[0.25, 1000000]"),
        ((0, 2e-7), "[0, 2e-07]"),
    ],
)
def test_large_ends_are_printed_whole(ends: tuple[float, float], words: str) -> None:
    assert str(window(*ends)) == words


def test_messages_about_large_samples_print_them_whole(tmp_path: Path, log: list[str]) -> None:
    samples = np.linspace(0, 9_000_000, 2400).reshape(40, 60, 1)
    np.save(tmp_path / "a.npy", samples.astype(np.int32))
    choose_intensity(window(0, 1_000_000), [tmp_path / "a.npy"])
    assert "intensity: [0, 1000000] leaves" in log[-1]
    assert "from 0 to 9000000;" in log[-1]
    intensity_of_run(Intensity()).to_uint8(samples.astype(np.int32))
    assert "-2147483648 to 2147483647, becomes" in log[-1]
