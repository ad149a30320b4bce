from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from moat_det.backbones.windows import AutoWindow
from moat_det.benchmark.attention import attention_pass
from moat_det.benchmark.cases import AttentionCase, DetectorCase, detector_cases
from moat_det.benchmark.exports import Exports
from moat_det.benchmark.flops import count_flops
from moat_det.benchmark.measure import MIB, measure
from moat_det.benchmark.passes import build, detector_pass, random_images
from moat_det.benchmark.report import Baseline, records, table
from moat_det.benchmark.roofline import Limits, Part, measure_limits, measure_parts
from moat_det.benchmark.roofline import table as table_of_parts
from moat_det.benchmark.runner import Row, _why_it_ended, run_cases, side_by_side
from moat_det.benchmark.sliced import check_installed, sliced_pass
from moat_det.cli.commands import benchmark
from moat_det.cli.main import run
from moat_det.errors import UserError

REPO = Path(__file__).resolve().parents[2]
CASE = DetectorCase("tiny_moat0", "64", "whole", "full", "folded", "float32", "forward", "-", 1)


def test_a_benchmark_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # At 32 px the last map of a training step is a single cell, of which batch norm has no statistics: a failed row.
    words = "--models tiny_moat0 --imgsz 64 32 --mode train --repeats 1 --threads 1 --out"
    assert run("benchmark", [*words.split(), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "| imgsz " in printed.out
    assert "failed: ValueError" in printed.out
    assert "[2/2] tiny_moat0 32" in printed.err

    with (tmp_path / "out/benchmark.csv").open(newline="") as file:
        measured, failed = csv.DictReader(file)
    assert measured["model"] == "tiny_moat0"
    assert float(measured["seconds"]) > 0
    assert float(measured["memory_mib"]) > 1
    assert float(measured["process_mib"]) > float(measured["memory_mib"]) + 50
    assert float(measured["time_ratio"]) == float(measured["memory_ratio"]) == 1
    assert not measured["error"]
    assert failed["error"].startswith("ValueError")
    assert not failed["seconds"]
    assert not failed["time_ratio"]

    content = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert set(content) == {"date", "command", "machine", "threads", "versions", "rows"}
    assert set(content["machine"]) == {"system", "processor", "cores", "memory_mib"}
    assert content["threads"] == 1
    assert content["versions"]["torch"] == torch.__version__
    assert [len(row["times"]) for row in content["rows"]] == [1, 0]
    assert content["rows"][0]["seconds"] == content["rows"][0]["times"][0]
    assert (tmp_path / "out/benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_stopping_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = iter([Row(CASE, [1.0], 100.0, 10.0, 12.0)])

    def run_cases(*_: object) -> list[Row]:
        try:
            return [next(results)]
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(benchmark, "run_cases", run_cases)
    assert run("benchmark", ["--models", "tiny_moat0", "--imgsz", "64", "96", "--out", str(tmp_path)]) == 130
    assert "1 of 2" in capsys.readouterr().err
    assert len((tmp_path / "benchmark.csv").read_text().splitlines()) == 2
    assert (tmp_path / "benchmark.png").exists()

    assert run("benchmark", ["--models", "tiny_moat0", "--out", str(tmp_path)]) == 2, (
        "earlier figures would be overwritten"
    )
    assert "benchmark.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--models tiny_moat9", "tiny_moat9"),
        ("--models tiny_moat0 --imgsz 100", "--imgsz 100: must be a multiple of 32"),
        ("--models tiny_moat0-p6 --imgsz 96", "multiple of 64"),
        ("--models tiny_moat0 --imgsz 64x", "64x"),
        ("--models tiny_moat0 --window wide", "wide"),
        ("--models tiny_moat0 --window trained", "'trained'"),
        ("--models tiny_moat0 --window [null,7,7,7]", "[null,7,7,7]"),
        ("--models tiny_moat0 --device cuda", "--device cuda"),
        ("--attention 8x8 --device cpu cuda", "--device cuda"),
        ("--models tiny_moat0 --sliced 100", "--sliced 100"),
        ("--models tiny_moat0 --repeats 0", "--repeats"),
        ("--models tiny_moat0 --roofline --mode train", "--roofline"),
        ("--attention 8x8 --roofline", "--roofline"),
        ("--models tiny_moat0 --formats tflite", "--formats tflite: must be torch or"),
        ("--models tiny_moat0 --formats torch onnx --dtype bfloat16", "--formats onnx: is measured in"),
        ("--models tiny_moat0 --formats openvino --mode train", "--formats openvino: is measured in detection"),
        ("--models tiny_moat0 --baseline norm=folded", "norms"),
        ("--models tiny_moat0 --baseline norms=unfolded", "norms is folded"),
        ("--peers tiny_moat0", "--models"),
        ("--peers yolo99x", "yolo99x"),
        ("--attention 8x8 --models tiny_moat0", "--attention"),
        ("--attention 8xx8", "8xx8"),
        ("--attention 8x8 --dtype float32 int8", "--dtype int8: attention alone is measured in float32 or bfloat16"),
        ("", "nothing to measure"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(REPO)
    assert run("benchmark", [*words.split(), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_of_the_users_own_classes_and_bands_is_measured() -> None:
    case = replace(CASE, classes=3, channels=5)
    assert random_images(case).shape == (1, 5, 64, 64)
    predictions, *_ = detector_pass(case)()
    assert predictions.shape[1] == 4 + 3
    assert run_cases([case], 1, 1)[0].growth is not None


def test_windows_are_spelt_as_for_validation() -> None:
    words = ["14", "14x28", "[null, null, 14, full]", "auto:4096"]
    cases = detector_cases(
        ["tiny_moat0"],
        [],
        imgsz=["64"],
        windows=words,
        dtypes=["float32"],
        modes=["forward"],
        norms=["folded"],
        checkpoint_attention=False,
        batch=1,
        tiles=None,
    )
    assert [case.window for case in cases] == words
    stages = [build(case).model[1].stages[2:] for case in cases]
    windows = [[stage[-1].attention.window for stage in pair] for pair in stages]
    assert windows == [[(14, 14)] * 2, [(14, 28)] * 2, [(14, 14), None], [AutoWindow(4096)] * 2]


def test_everything_is_combined_with_everything_that_it_can_have() -> None:
    cases = detector_cases(
        ["tiny_moat0"],
        ["yolo11n"],
        imgsz=["64", "128"],
        windows=["full", "14"],
        dtypes=["float32"],
        modes=["forward", "train"],
        norms=["folded", "unfolded"],
        checkpoint_attention=True,
        batch=2,
        tiles=64,
    )
    assert len(cases) == len(set(cases))
    ours = [case for case in cases if case.model == "tiny_moat0" and case.tiles == "whole"]
    assert len(ours) == 2 * 2 * (2 + 1)  # sizes, windows, folded and unfolded detection and the one training
    assert {case.window for case in cases if case.model == "yolo11n"} == {"-"}
    assert {(case.model, case.norms, case.recompute) for case in cases if case.mode == "train"} == {
        ("tiny_moat0", "-", "yes"),
        ("yolo11n", "-", "-"),
    }
    assert {case.recompute for case in cases if case.mode == "forward"} == {"-"}
    assert {(case.imgsz, case.batch) for case in cases if case.tiles == "64"} == {("128", 1)}


def test_a_format_is_measured_in_what_it_has() -> None:
    cases = detector_cases(
        ["tiny_moat0"],
        ["yolo11n"],
        imgsz=["64", "128"],
        windows=["full"],
        dtypes=["float32", "bfloat16", "int8"],
        modes=["forward", "train"],
        norms=["folded", "unfolded"],
        checkpoint_attention=False,
        batch=1,
        tiles=64,
        formats=["torch", "onnx", "openvino"],
    )
    exported = [case for case in cases if case.format != "torch"]
    assert {(case.mode, case.norms, case.tiles) for case in exported} == {("forward", "folded", "whole")}
    assert [case.dtype for case in exported if (case.format, case.model, case.imgsz) == ("onnx", "yolo11n", "64")] == [
        "float32"
    ]
    assert len([case for case in exported if case.format == "openvino"]) == 2 * 2 * 3
    assert {case.dtype for case in cases if case.format == "torch"} == {"float32", "bfloat16"}


def test_what_is_compared_is_measured_side_by_side() -> None:
    others = replace(CASE, window="14"), replace(CASE, imgsz="96"), replace(CASE, format="onnx")
    training, large = replace(CASE, mode="train"), replace(CASE, imgsz="2080")
    groups = side_by_side([CASE, *others, training, replace(training, window="14"), large])
    assert groups == [
        [CASE, others[0], others[2]],
        [others[1]],
        [training],
        [replace(training, window="14")],
        [large],
    ]


def test_exported_files_and_the_model_take_turns(tmp_path: Path) -> None:
    cases = [
        replace(CASE, model="yolo11n", window="-", format=form, dtype=dtype)
        for form, dtype in (("torch", "float32"), ("onnx", "float32"), ("openvino", "bfloat16"))
    ]
    lost = replace(cases[0], format="torchscript")
    exports, steps = Exports(tmp_path), []

    def file_of(case: DetectorCase) -> Path:
        if case == lost:
            raise OSError("the disk is full")
        return exports.file_of(case)

    rows = run_cases([*cases, lost], 2, 1, file_of, lambda: steps.append(None))
    assert [row.error for row in rows] == [""] * 3 + ["OSError: the disk is full"]
    assert [len(row.times) for row in rows] == [2] * 3 + [0]
    assert all(row.growth > 0 for row in rows[:3])
    assert rows[1].before < rows[0].before / 2, "the runtime's process has torch in it"
    assert len(steps) == 3 * (1 + 2 + 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.onnx", "1.bin", "1.xml"]


def test_a_file_is_written_once_for_all_that_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "moat_det.benchmark.exports.write",
        lambda *_, precision, calibration: written.append((precision, len(calibration.images))),
    )
    exports = Exports(tmp_path)
    case = replace(CASE, model="yolo11n", window="-", format="openvino")
    files = [exports.file_of(replace(case, dtype=dtype)) for dtype in ("float32", "bfloat16", "int8")]
    assert written == [("f32", 4), ("int8", 4)]
    assert files[0] == files[1] != files[2]


def test_a_pass_in_turn_warms_up_first() -> None:
    events: list[str] = []

    @contextmanager
    def turn() -> Iterator[None]:
        events.append("turn")
        yield

    found = measure(lambda: events.append("pass"), repeats=2, warm_up=True, turn=turn)
    assert len(found.seconds) == 2
    assert events == ["turn", "pass", "turn", "pass", "pass", "turn", "pass", "pass"]


def test_rows_are_compared_with_their_counterparts() -> None:
    peer = replace(CASE, model="yolo11s", window="-")
    rows = [
        Row(CASE, [3.0, 1.0, 2.0], 10.0, 40.0, 40.0),
        Row(replace(CASE, window="auto"), [1.0], 10.0, 20.0, 20.0),
        Row(replace(CASE, imgsz="128"), [8.0], 10.0, 100.0, 100.0),
        Row(peer, [4.0], 10.0, 10.0, 10.0),
        Row(replace(peer, imgsz="128"), error="out of memory"),
    ]
    cases = [row.case for row in rows]

    def ratios(text: str | None) -> list[float | None]:
        return [record["time_ratio"] for record in records(rows, Baseline(text, cases))]

    assert ratios(None) == [1, 0.5, 4, 2, None]
    assert ratios("model=yolo11s") == [0.5, 0.25, None, 1, None]
    assert ratios("imgsz=64") == [1, 1, 4, 1, None]
    printed = table(rows, Baseline(None, cases))
    assert "failed: out of memory" in printed
    assert "norms folded" in printed.splitlines()[0]
    assert "norms" not in printed.splitlines()[2]


def test_the_parts_of_a_model_add_up() -> None:
    model = build(CASE)
    parts = measure_parts(model, random_images(CASE), repeats=1)
    assert [part.name for part in parts if part.name != "rest"] == [
        "stem",
        "stage 2",
        "stage 3",
        "stage 4",
        "stage 4: attention",
        "stage 5",
        "stage 5: attention",
        "neck",
        "head",
    ]
    assert sum(part.flops for part in parts) == count_flops(model, 64, 64)
    assert all(part.seconds > 0 for part in parts)
    # The stem reads a float32 image and writes maps of 32 channels at half its size, twice; the GELU between is within
    # the first convolution.
    image, half = 4 * 3 * 64**2, 4 * 32 * 32**2
    stem = next(part for part in parts if part.name == "stem")
    kernels = 4 * sum(parameter.numel() for parameter in model.backbone.stem.parameters())
    assert stem.moved == pytest.approx(image + half + 2 * half + kernels, rel=0.05)


def test_a_part_is_bound_by_what_takes_longer() -> None:
    limits = Limits(flops=1e9, bandwidth=1e6)
    slow, moving = Part("a", 2 * 10**9, 10**6, 3.0), Part("b", 10**6, 10**6, 2.0)
    assert [part.record(limits)["bound"] for part in (slow, moving)] == ["compute", "memory"]
    assert slow.record(limits)["compute_ms"] == 2000
    printed = table_of_parts(limits, [slow, moving])
    assert printed.startswith("this machine: 1 GFLOP/s, 0.0 GB/s")
    assert printed.splitlines()[-1].startswith("| all ")


def test_the_limits_of_the_machine() -> None:
    limits = measure_limits(torch.float32, side=64, copied=10**6)
    assert limits.flops > 1e6
    assert limits.bandwidth > 1e6


def test_a_roofline_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("moat_det.benchmark.roofline.measure_limits", lambda dtype: Limits(1e12, 1e11))
    threads = torch.get_num_threads()
    words = ["--models", "tiny_moat0", "--peers", "yolo11n", "--imgsz", "64", "--roofline", "--out", str(tmp_path)]
    assert run("benchmark", [*words, "--repeats", "1", "--threads", str(threads)]) == 0
    printed = capsys.readouterr().out
    assert "tiny_moat0 64 full" in printed
    assert "this machine: 1000 GFLOP/s" in printed
    with (tmp_path / "roofline.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert {record["model"] for record in records} == {"tiny_moat0", "yolo11n"}
    assert run("benchmark", words) == 2, "earlier figures would be overwritten"


# In a process of its own, as the tool measures: a heap that other tests left holds 100 MiB without growing.
GROWTH = """
import numpy as np
from moat_det.benchmark.measure import measure
np.ones(300 * 2**20, np.uint8).sum()  # an earlier peak, which is not the pass's
found = measure(lambda: np.ones(100 * 2**20, np.uint8).sum(), repeats=2, warm_up=True)
assert 99 < found.growth < 130, found
assert found.growth <= found.growth_repeated < 130, found
assert found.before > 10, found
assert len(found.seconds) == 2, found
"""


def test_growth_is_what_a_pass_needs_above_what_is_there() -> None:
    ran = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_gpu_is_waited_for_and_its_memory_is_the_allocators(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none here: the calls alone are checked."""
    called: list[str] = []
    mebibytes = {"memory_allocated": 10, "max_memory_allocated": 40, "max_memory_reserved": 60}

    def call(name: str) -> int:
        called.append(name)
        return mebibytes.get(name, 0) * MIB

    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", *mebibytes):
        monkeypatch.setattr(torch.cuda, name, partial(call, name))
    found = measure(partial(call, "pass"), repeats=1, warm_up=True, device="cuda")
    assert (found.before, found.growth, found.growth_repeated) == (10, 30, 50)
    assert len(found.seconds) == 1
    assert called.index("reset_peak_memory_stats") < called.index("pass")
    assert [called[index + 1] for index, name in enumerate(called) if name == "pass"] == ["synchronize"] * 2


def test_the_passes_compute_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, _ = detector_pass(replace(CASE, imgsz="64x96", batch=2))()  # type: ignore[misc]
    assert decoded.shape == (2, 4 + 10, 8 * 12 + 4 * 6 + 2 * 3)
    decoded, _ = detector_pass(replace(CASE, model="yolo11n", window="-", dtype="bfloat16"))()  # type: ignore[misc]
    assert decoded.shape == (1, 4 + 10, 84)

    steps = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: steps.append(self.param_groups[0]["params"]))
    detector_pass(replace(CASE, norms="-", mode="train", dtype="bfloat16"))()
    (parameters,) = steps
    assert len(parameters) > 100


@pytest.mark.parametrize("model", ["tiny_moat0", "yolo26n"])
def test_detection_in_tiles(model: str) -> None:
    window = "full" if model == "tiny_moat0" else "-"
    result = sliced_pass(replace(CASE, model=model, window=window, imgsz="96x128", tiles="64"))()
    assert (result.image_height, result.image_width) == (96, 128)  # type: ignore[attr-defined]


def test_boxes_of_tiles_come_back_in_the_pixels_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        names = dict.fromkeys(range(10), "defect")

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape == (1, 3, 64, 64)
            box = [[10.0], [8.0], [4.0], [4.0]]  # centre and size in pixels of the tile
            return torch.tensor([[*box, [0.9], *[[0.0]] * 9]])

    monkeypatch.setattr("moat_det.benchmark.sliced.build", lambda case: Model())
    found = sliced_pass(replace(CASE, imgsz="64x128", tiles="64"))().object_prediction_list  # type: ignore[attr-defined]
    boxes = sorted(prediction.bbox.to_xyxy() for prediction in found)
    # Tiles begin at 0, 52 and 64; the whole image, scaled down to a tile, is half as wide in it.
    assert boxes == [[8, 6, 12, 10], [16, 6, 24, 10], [60, 6, 64, 10], [72, 6, 76, 10]]


def test_tiles_need_sahi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sahi", None)
    with pytest.raises(UserError, match="pip install"):
        check_installed()


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("form", ["plain", "blocked"])
def test_attention_alone(mode: str, form: str) -> None:
    found = measure(attention_pass(AttentionCase("6x8", form, 2, "float32", mode, 2)), repeats=1, warm_up=False)
    assert found.seconds[0] > 0


@pytest.mark.parametrize(
    ("code", "stderr", "expected"),
    [(-9, "", "out of memory"), (-11, "", "SIGSEGV"), (1, "Traceback\nImportError: no\n", "ImportError: no")],
)
def test_a_process_that_ends_without_a_result_is_a_failed_row(code: int, stderr: str, expected: str) -> None:
    assert expected in _why_it_ended(code, stderr)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_format_without_its_packages_is_refused_before_anything_is_measured(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    words = ["--models", "tiny_moat0", "--imgsz", "64", "--formats", "torch", "onnx", "--out", str(tmp_path)]
    assert run("benchmark", words) == 2
    line = f"--formats onnx needs the package {package}, which is not installed: pip install 'moat_det[onnx]'"
    assert line in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
