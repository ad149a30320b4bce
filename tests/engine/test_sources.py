"""What a source names: files by our own suffixes, and what stays for the engine to open."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics.data.build import check_source
from ultralytics.data.utils import IMG_FORMATS, VID_FORMATS

from moat_det.data.images import find
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from moat_det.detection.source_files import list_files, list_pictures
from moat_det.engine.sources.in_memory import ImageItems
from moat_det.engine.sources.open import _is_live, open_source
from moat_det.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.png", "a.JPG", "clip.mp4", "array.npy", "notes.md", "deep/c.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "images", "videos"),
    [
        (".", ["a.JPG", "b.png", "deep/c.tif"], ["clip.mp4"]),
        ("*", ["a.JPG", "b.png"], ["clip.mp4"]),
        ("**/*.*", ["a.JPG", "b.png", "deep/c.tif"], ["clip.mp4"]),
        ("b.png", ["b.png"], []),
        ("array.npy", ["array.npy"], []),
        ("*.npy", ["array.npy"], []),
        ("clip.mp4", [], ["clip.mp4"]),
        ("notes.md", [], []),
        ("gone*.png", [], []),
    ],
)
def test_files_by_name_folder_and_pattern(folder: Path, source: str, images: list[str], videos: list[str]) -> None:
    expected = [str(folder / name) for name in images], [str(folder / name) for name in videos]
    assert list_files(source) == expected
    assert list_files(str(folder / source)) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep/list.txt", "b.png\n\n c.tif \narray.npy\n"),
        ("deep/list.txt", "\ufeffb.png\nc.tif\narray.npy\n"),
        ("deep/list.csv", "source\nb.png\nc.tif,array.npy\n"),
        ("deep/list.csv", "b.png,c.tif,array.npy\n"),
    ],
)
def test_entries_of_a_list_lie_here_or_beside_it(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    assert list_files(name) == ([str(folder / file) for file in ("array.npy", "b.png", "deep/c.tif")], [])


@pytest.mark.parametrize("pattern", ["*", "*/*.png", "**/*.png"])
def test_a_pattern_knows_links_as_a_folder_does(tmp_path: Path, log: list[str], pattern: str) -> None:
    for name in ("in/lot/a.png", "in/lot/deep/b.png", "elsewhere/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in/again").symlink_to(tmp_path / "in/lot")  # before it in the order of names
    (tmp_path / "in/outside").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/lot/own_name.png").symlink_to(tmp_path / "in/lot/a.png")
    images = list_files(str(tmp_path / "in"))[0]
    names = ["lot/a.png", "lot/deep/b.png", "lot/own_name.png", "outside/c.png"]
    assert images == [str(tmp_path / "in" / name) for name in names]
    wanted = [file for file in images if pattern != "*/*.png" or "deep" not in file]
    find._tell_not_followed.cache_clear()
    log.clear()
    assert list_files(str(tmp_path / "in" / pattern))[0] == sorted(wanted)
    said = [line for line in log if "is looked through where it lies" in line]
    assert any(line.startswith(f"{tmp_path / 'in/again'}: not followed, as {tmp_path / 'in/lot'} ") for line in said)


def test_a_file_is_given_once_where_entries_of_a_list_overlap(folder: Path) -> None:
    (folder / "list.txt").write_text("deep\ndeep/c.tif\n*.p*\nb.png\nclip.mp4\n")
    images, videos = list_files("list.txt")
    assert sorted(images) == [str(folder / file) for file in ("b.png", "deep/c.tif")]
    assert videos == [str(folder / "clip.mp4")]


@pytest.mark.parametrize("source", ["gone", "gone.png", "gone.txt"])
def test_what_is_not_there(folder: Path, source: str) -> None:
    with pytest.raises(FileNotFoundError):
        list_files(source)


@pytest.mark.parametrize("source", ["0", "cameras.streams", "rtsp://x/y.mp4", "tcp://x", "screen", "screen 0", "a.png"])
def test_what_is_live_is_what_the_engine_takes_for_it(folder: Path, source: str) -> None:
    _, webcam, screenshot, *_ = check_source(source)
    assert _is_live(source) == (webcam or screenshot)


@pytest.mark.parametrize("path", ["part.png?size=2", "part", "watch?v=1", "", "all.streams", "x" * 300])
@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_nothing_is_loaded_from_an_address(path: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("it asks the network"))
    with pytest.raises(ValueError, match=r"is at another machine, .* save it first, or write .*NAME\.streams"):
        open_source(f"{scheme}://127.0.0.1:9/{path}", Intensity("full"), 3)


def test_a_folder_called_by_a_number_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _is_live("20240612")
    Path("20240612").mkdir()
    assert not _is_live("20240612")


def test_our_suffixes_are_those_that_the_engine_reads_and_more() -> None:
    assert IMAGE_SUFFIXES > IMG_FORMATS
    assert VIDEO_SUFFIXES == VID_FORMATS


@pytest.mark.parametrize("kind", [str, Path])
def test_pages_of_a_file_of_a_list_are_told(tmp_path: Path, log: list[str], kind: type) -> None:
    pages = [Image.new("L", (20, 20), value) for value in (0, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    items = ImageItems([kind(tmp_path / "a.tif")], Intensity(), channels=3, batch=1)
    assert [names for names, _, _ in items] == [[str(tmp_path / "a.tif")]]
    assert [line for line in log if "holds 2 pictures" in line]


@pytest.mark.parametrize("batch", [1, 2])
def test_images_that_pillow_takes_for_an_attack_are_read_and_their_pages_told(
    tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "a.tga")
    Image.new("L", (40, 40)).save(tmp_path / "b.tif", save_all=True, append_images=[Image.new("L", (40, 40), 200)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # it refuses twice as many
    files = [name for names, _, _ in open_source(str(tmp_path), Intensity(), 3, batch) for name in names]
    assert files == [str(tmp_path / "a.tga"), str(tmp_path / "b.tif")]
    assert [line for line in log if "b.tif: holds 2 pictures" in line]
    assert Image.MAX_IMAGE_PIXELS == 400


def test_what_looks_at_pictures_alone_names_videos(folder: Path, log: list[str]) -> None:
    assert list_pictures("*") == [str(folder / "a.JPG"), str(folder / "b.png")]
    assert [line for line in log if "videos: 1 .mp4" in line]
    assert [line for line in log if f"1 folder(s) such as {folder / 'deep'}" in line]
    for source, message in (("clip.mp4", "no images in it"), ("gone", "no such folder"), ("x*", "no images in it")):
        with pytest.raises(UserError, match=f"--source {re.escape(source)}: {message}"):
            list_pictures(source)
    with pytest.raises(UserError, match="--good-parts : no images in it"):  # and not those that lie here
        list_pictures("", "--good-parts")


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("https://127.0.0.1:9/a.png", r"image 1 .*: https://127.0.0.1:9/a.png is at another machine, .*save it"),
        (np.zeros((3, 96, 96), np.uint8), r"image 1 .* \(3, 96, 96\) is no image; .*the bands last"),
        (np.zeros((2, 9, 9, 3), np.uint8), r"\(2, 9, 9, 3\) is no image"),
        (np.zeros((9, 9, 5), np.uint8), r"\(9, 9, 5\) is no image"),
        (np.zeros((0, 9, 3), np.uint8), r"\(0, 9, 3\) is no image"),
        (np.zeros((9, 9), bool), "array of bool is no image"),
        (np.array(["a.png"]), "image 1 of the source: an array of"),
        (np.zeros((9, 9, 3), np.float32), "image 1 of the source: intensity"),
        (Image.new("F", (9, 9)), "image 1 of the source: intensity"),
    ],
)
def test_what_is_no_image_is_refused_by_its_number(item: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        next(iter(ImageItems([item], Intensity("full"), 3, 1)))


def test_colour_for_a_model_of_other_bands_is_refused() -> None:
    with pytest.raises(UserError, match=r"\(9, 9, 3\) is no image; give \(H, W, 5\)"):
        next(iter(ImageItems([np.zeros((9, 9, 3), np.uint8)], Intensity(), 5, 1)))


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 1), (9, 9, 2), (9, 9, 3), (9, 9, 4)])
def test_gray_and_colour_with_and_without_alpha_are_images(shape: tuple[int, ...]) -> None:
    _, (image,), _ = next(iter(ImageItems([np.full(shape, 7, np.uint8)], Intensity(), 3, 1)))
    assert image.shape == (9, 9, 3)
    assert (image == 7).all()


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.zeros(1, 4, 32, 32), "must be"),
        (torch.zeros(32, 32, 3), "must be"),
        (torch.zeros(32, 32), "must be"),
        (torch.full((1, 3, 32, 32), torch.nan), "NaN"),
    ],
)
def test_tensors_of_other_bands_or_numbers_are_refused(tensor: torch.Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        open_source(tensor, Intensity(), 3)


def test_an_empty_source_is_not_the_working_folder(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="it is empty"):
        open_source(" ", Intensity(), 3)
