from __future__ import annotations

import json
import logging
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from moat_det.cli.main import run
from moat_det.errors import UserError
from moat_det.evaluation.agreement import Judgements, agreement, agreement_table, of_the_same_parts, read_judgements
from moat_det.evaluation.inspection.intervals import exact_interval
from moat_det.evaluation.inspection.verdicts import PartVerdict, Verdict
from moat_det.files import atomic_write_csv


def judged(name: str, *rejected: int) -> Judgements:
    return Judgements(name, {f"{part}.png": bool(verdict) for part, verdict in enumerate(rejected)})


def test_two_raters_and_a_reference_by_hand() -> None:
    truth = judged("truth", 1, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    anna = judged("anna", 1, 1, 1, 0, 0, 0, 0, 0, 1, 1)
    ben = judged("ben", 1, 1, 0, 0, 0, 0, 0, 0, 0, 1)
    content = agreement([anna, ben], truth)
    assert (content["parts"], content["defective_parts"]) == (10, 4)
    figures = content["raters"]["anna"]
    assert figures["escape"] == exact_interval(1, 4)._asdict()  # type: ignore[union-attr]
    assert figures["overkill"] == exact_interval(2, 6)._asdict()  # type: ignore[union-attr]
    assert figures["against_reference"] == exact_interval(7, 10)._asdict()  # type: ignore[union-attr]
    assert figures["within"] is None
    values = [list(each.rejected.values()) for each in (truth, anna, ben)]
    assert figures["kappa"]["value"] == pytest.approx(cohen_kappa_score(values[0], values[1]))
    between = content["between"]
    assert between["kappa"]["value"] == pytest.approx(cohen_kappa_score(values[1], values[2]))
    assert between["kappa"]["low"] <= between["kappa"]["value"] <= between["kappa"]["high"]
    assert between["agreement"]["value"] == 0.8
    assert "Cohen's kappa: 0.60" in agreement_table(content)


def test_fleiss_kappa_of_three_by_hand() -> None:
    # Rejections of 3: 3, 3, 2, 0. Alike: 1, 1, 1/3, 1; a share of 8/12 rejects.
    content = agreement([judged("a", 1, 1, 1, 0), judged("b", 1, 1, 1, 0), judged("c", 1, 1, 0, 0)], None)
    observed, expected = (1 + 1 + 1 / 3 + 1) / 4, (8 / 12) ** 2 + (4 / 12) ** 2
    between = content["between"]
    assert between["measure"] == "Fleiss' kappa"
    assert between["kappa"]["value"] == pytest.approx((observed - expected) / (1 - expected))
    assert [pair["raters"] for pair in between["pairs"]] == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert content["defective_parts"] is None
    assert "escape" not in content["raters"]["a"]


def test_trials_of_one_rater() -> None:
    truth = judged("truth", 1, 1, 0, 0)
    content = agreement([judged("anna", 1, 1, 0, 0), judged("anna", 1, 0, 0, 0)], truth)
    figures = content["raters"]["anna"]
    assert figures["trials"] == 2
    assert figures["within"]["value"] == 0.75
    assert figures["against_reference"]["value"] == 0.75
    assert figures["escape"]["value"] == 0.25
    # Two judgements of two parts are no four independent ones.
    assert figures["escape"]["high"] > exact_interval(1, 4).high  # type: ignore[union-attr]
    assert content["between"] is None


def test_where_all_parts_are_good_kappa_says_nothing() -> None:
    content = agreement([judged("a", 0, 0, 0), judged("b", 0, 0, 0)], judged("truth", 0, 0, 0))
    assert content["between"]["kappa"] is None
    assert content["raters"]["a"]["escape"] is None
    assert content["raters"]["a"]["overkill"]["value"] == 0
    assert "nothing can be told" in agreement_table(content)


def test_the_interval_of_kappa_holds_the_truth() -> None:
    """Raters who are right nine times of ten about a half of defective parts have a kappa of 0.64."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(40):
        truth = rng.random(150) < 0.5
        left, right = (np.where(rng.random(150) < 0.9, truth, ~truth) for _ in range(2))
        kappa = agreement([judged("a", *left), judged("b", *right)], None)["between"]["kappa"]
        held += kappa["low"] <= 0.64 <= kappa["high"]
    assert held >= 34


def test_few_parts_of_full_agreement_leave_room() -> None:
    lows = []
    for parts in (3, 30, 300):
        verdicts = [number % 3 == 0 for number in range(parts)]
        content = agreement([judged("a", *verdicts), judged("b", *verdicts), judged("c", *verdicts)], None)
        for kappa in (content["between"]["kappa"], content["between"]["pairs"][0]["kappa"]):
            assert (kappa["value"], kappa["high"]) == (1, 1)
            least, expected = 0.025 ** (1 / parts), 1 / 9 + 4 / 9  # Clopper-Pearson: all of the parts; by chance
            assert kappa["low"] == pytest.approx((least - expected) / (1 - expected))
        lows.append(kappa["low"])
    assert lows == sorted(lows)
    assert lows[-1] > 0.95


def coco(folder: Path, name: str, rejected: list[int]) -> Path:
    truth: dict[str, Any] = {
        "images": [{"id": k, "file_name": f"cam/{k}.png", "width": 9, "height": 9} for k in range(1, 5)],
        "annotations": [{"id": k, "image_id": k, "category_id": 1, "bbox": [1, 1, 3, 3]} for k in rejected],
        "categories": [{"id": 1, "name": "pit"}],
    }
    (folder / name).write_text(json.dumps(truth))
    return folder / name


def test_every_form_of_judgements(tmp_path: Path) -> None:
    (tmp_path / "anna.csv").write_text("part,verdict\n1.png,Reject\n2.png,pass\n3.png,OK\n4.png,NG\n")
    labels = coco(tmp_path, "ben.json", [1, 2])
    found = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "score": score} for score in (0.3, 0.8)]
    (tmp_path / "val").mkdir()
    coco(tmp_path / "val", "ground_truth.json", [4])
    (tmp_path / "val/predictions.json").write_text(json.dumps(found))
    detected = [{**found[0], "file_name": "x/2.png"}, {**found[1], "file_name": "x/3.png"}]
    (tmp_path / "predictions.json").write_text(json.dumps(detected))
    paths = ["anna.csv", labels.name, "val", "predictions.json"]
    read = [read_judgements(path, tmp_path / path, 0.5, None, "val") for path in paths]
    parts, judgements = of_the_same_parts(read)
    assert parts == ["1.png", "2.png", "3.png", "4.png"]
    rejected = [[part[0] for part in parts if each.rejected[part]] for each in judgements]
    assert rejected == [["1", "4"], ["1", "2"], ["1"], ["3"]]
    grouped = read_judgements("ben", labels, 0.5, r"^([12]|[34])", "val")
    assert grouped.rejected == {"1": True, "2": True, "3": False, "4": False}


def test_detections_are_judged_by_their_own_rule(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    coco(tmp_path / "val", "ground_truth.json", [4])
    scores = (0.3, 0.5, 0.7, 0.9)
    found = [
        {"image_id": k, "category_id": 1, "bbox": [1, 1, 3, 3], "score": score} for k, score in enumerate(scores, 1)
    ]
    (tmp_path / "val/predictions.json").write_text(json.dumps(found))

    def rejected(path: str, threshold: float | None, group: str | None = None) -> tuple[list[str], str | None]:
        read = read_judgements("model", tmp_path / path, threshold, group, "val")
        return [Path(name).stem for name, bad in read.rejected.items() if bad], read.by

    assert rejected("val", None) == (["1", "2", "3", "4"], "at threshold 0.25")
    for rule, expected in (
        ({"threshold": 0.6}, (["3", "4"], "at threshold 0.6")),
        ({"threshold": 0.8, "review": 0.4}, (["2", "3", "4"], "at threshold 0.8 (review from 0.4)")),
        ({"threshold": 0.1, "per_class": {"pit": 0.8}}, (["4"], "at the threshold of each class")),
    ):
        (tmp_path / "val/inspection.json").write_text(json.dumps(rule))
        assert rejected("val", None) == expected
    assert rejected("val", 0.4) == (["2", "3", "4"], "at threshold 0.4")

    words = ("pass", "pass", "review", "reject")
    names = [f"x/{k}.png" for k in range(1, 6)]
    detected = [
        {**row, "file_name": name, "part": name, "verdict": word}
        for row, name, word in zip(found, names, words, strict=False)
    ]
    (tmp_path / "predictions.json").write_text(json.dumps(detected))
    with pytest.raises(UserError, match=r"verdicts.json: no such file, and it alone names all parts"):
        rejected("predictions.json", None)
    write_verdicts(tmp_path, dict(zip(names, (*words, "review"), strict=True)))  # the last by its heat map
    by = "by its verdicts, 2 of 5 to review, which counts as rejected"
    assert rejected("predictions.json", None) == (["3", "4", "5"], by)
    assert rejected("predictions.json", None, r"^([12]|[345])") == (["3", "4", "5"], by)
    assert rejected("predictions.json", 0.8) == (["4"], "at threshold 0.8")
    (tmp_path / "predictions.json").write_text("[]")
    assert rejected("predictions.json", None) == (["3", "4", "5"], by)
    write_verdicts(tmp_path, dict.fromkeys(names, "reject"))
    assert rejected("predictions.json", None)[1] == "by its verdicts"


def test_the_csv_of_a_detection_is_a_rater_of_which_review_passes_no_part(tmp_path: Path) -> None:
    columns = [field.name for field in fields(PartVerdict)]
    rows = [asdict(PartVerdict(f"{word.value}.png", word.value, 0.5, 0.5, 1, 0)) for word in Verdict]
    atomic_write_csv(tmp_path / "verdicts.csv", columns, rows)  # as `moat detect` does
    read = read_judgements("model", tmp_path / "verdicts.csv", None, None, "val")
    assert read.rejected == {"pass.png": False, "review.png": True, "reject.png": True}
    assert read.by == "by its verdicts, 1 of 3 to review, which counts as rejected"


def write_verdicts(folder: Path, verdicts: dict[str, str], images: int = 1) -> None:
    """Write them as `moat detect` does."""
    rows = [PartVerdict(part, verdict, 0.5, 0.5, images, 0) for part, verdict in verdicts.items()]
    (folder / "verdicts.json").write_text(json.dumps([asdict(row) for row in rows]))


@pytest.mark.parametrize("images", [1, 2])
def test_parts_of_a_point_with_a_group_are_called_by_it(tmp_path: Path, images: int) -> None:
    """`^(.+)_` would find less in the name of the part, `board`."""
    truth = {"id": 1, "file_name": "board_1_top.png"}, {"id": 2, "file_name": "board_2_top.png"}
    labels = coco(tmp_path, "truth.json", [1])
    content = {**json.loads(labels.read_text()), "images": truth}
    labels.write_text(json.dumps(content))
    detected = [{"file_name": "x/board_1_top.png", "score": 0.5, "part": "board_1", "verdict": "reject"}]
    (tmp_path / "predictions.json").write_text(json.dumps(detected))
    write_verdicts(tmp_path, {"board_1": "reject", "board_2": "pass"}, images)

    def read(group: str | None) -> list[Judgements]:
        paths = tmp_path / "predictions.json", labels
        return [read_judgements(path.stem, path, None, group, "val") for path in paths]

    _, (model, reference) = of_the_same_parts(read(r"^(.+)_"))
    assert model.rejected == reference.rejected == {"board_1": True, "board_2": False}
    with pytest.raises(UserError, match=r"no part was judged by all: predictions has 'board_1', .*give the --group"):
        of_the_same_parts(read(None))


def test_the_verdicts_of_another_detection_are_refused(tmp_path: Path) -> None:
    row = {"file_name": "1.png", "score": 0.5, "part": "1.png", "verdict": "reject"}
    (tmp_path / "predictions.json").write_text(json.dumps([row]))
    for part in ("1.png", "2.png"):
        write_verdicts(tmp_path, {part: "pass"})
        with pytest.raises(UserError, match="of another detection than the predictions beside it"):
            read_judgements("model", tmp_path / "predictions.json", None, None, "val")
    (tmp_path / "verdicts.json").write_text('{"part": "1.png"}')
    with pytest.raises(UserError, match="no list of verdicts as moat detect writes it"):
        read_judgements("model", tmp_path / "predictions.json", None, None, "val")


def test_parts_that_not_all_judged_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parts, _ = of_the_same_parts([judged("a", 1, 0, 0), judged("b", 1, 0)])
    assert parts == ["0.png", "1.png"]
    assert "1 parts are left out, as not everybody judged them: 2.png" in caplog.text
    with pytest.raises(UserError, match=r"no part was judged by all: a has '0.png', b has 'x.png'"):
        of_the_same_parts([judged("a", 1), Judgements("b", {"x.png": True})])
    with pytest.raises(UserError, match=r"b rejects no part that another names: a has '0.png', b has 'b1'; .* --group"):
        of_the_same_parts([judged("a", 1), Judgements("b", {"b1": True}, only_rejected=True)])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "part,verdict\n1,maybe\n", "line 2 has the verdict 'maybe'; write pass, review or reject"),
        ("a.csv", "part,verdict\n1,ok\n1,ok\n", "line 3 has '1' again"),
        ("a.csv", "part,verdict\n\n\n1,maybe\n", "line 4 has the verdict"),
        ("a.csv", "part,verdict\r\n1,ok\r\n\r\n1,ok\r\n", "line 4 has '1' again"),
        ("a.csv", "part,verdict\na\u2028b,ok\n\x0c,ok\n1,maybe\n", "line 4 has the verdict"),
        ("a.csv", "part,verdict\n1,ok\n" + "1" * 200_000 + ",ok\n", "cannot be read"),
        ("a.csv", "name,verdict\n1,ok\n", "line 2 has no part"),
        ("a.csv", "part,verdict\n", "no row in it"),
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", "[1]", "a list of something else than detections"),
        ("a.json", '[{"score": 1}]', "do not name their files"),
        ("a.json", '[{"score": 1, "file_name": "1.png"}, {"score": 1}]', "a.json: its detections do not name their"),
        ("a.txt", "", "give a dataset YAML"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(UserError, match=message):
        read_judgements("a", tmp_path / name, 0.5, None, "val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 1}]}, r"images\[0\] has no 'file_name', which the COCO format requires"),
        ({"images": ["a.png"]}, r"images\[0\] has no 'id'"),
        (
            {"images": [{"id": [1], "file_name": "a.png"}]},
            r"images\[0\] has the id \[1\]; it must be a whole number or",
        ),
        ({"annotations": [{"id": 1, "category_id": 1}]}, r"annotations\[0\] has no 'image_id'"),
        ({"annotations": [{"category_id": 1, "image_id": 9}]}, r"annotations\[0\] has the image_id 9, which none of"),
    ],
)
def test_labels_that_are_not_in_order_are_a_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = coco(tmp_path, "a.json", [1])
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(UserError, match=message) as caught:
        read_judgements("a", file, 0.5, None, "val")
    assert str(caught.value).startswith(str(file))


def test_ids_of_labels_may_be_words_and_annotations_need_none(tmp_path: Path) -> None:
    file = coco(tmp_path, "a.json", [])
    images = [{"id": "first", "file_name": "1.png"}, {"id": 2, "file_name": "2.png"}]
    content = {**json.loads(file.read_text()), "images": images}
    file.write_text(json.dumps({**content, "annotations": [{"image_id": "first", "category_id": 1}]}))
    assert read_judgements("a", file, 0.5, None, "val").rejected == {"1.png": True, "2.png": False}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name, verdicts in (("anna", "reject pass pass"), ("ben", "reject reject pass"), ("truth", "reject pass pass")):
        rows = [f"{part},{verdict}" for part, verdict in enumerate(verdicts.split())]
        Path(f"{name}.csv").write_text("\n".join(["part,verdict", *rows]))
    found = [{"file_name": "0", "score": 0.3}, {"file_name": "1", "score": 0.2}]
    Path("predictions.json").write_text(json.dumps(found))
    raters = ["--raters", "anna=anna.csv", "ben=ben.csv", "model=predictions.json"]
    assert run("agreement", [*raters, "--reference", "truth.csv"]) == 0
    out = capsys.readouterr().out
    assert "model: judged at threshold 0.25" in out
    assert "3 parts, 1 of them defective by the reference" in out
    content = json.loads(Path("runs/agreement/agreement.json").read_text())
    assert content["raters"]["ben"]["overkill"]["value"] == 0.5
    assert Path("runs/agreement/agreement.png").stat().st_size > 1000
    for words, message in (
        (["--raters", "anna.csv"], "write NAME=PATH"),
        ([*raters, "--threshold", "0"], "--threshold 0: must be above 0 and at most 1"),
        (["--raters", "anna=anna.csv"], "give two or more, or one and a --reference"),
    ):
        assert run("agreement", words) == 2
        assert message in capsys.readouterr().err


def test_the_group_of_a_validation_makes_the_parts_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("val").mkdir()
    for file in (coco(tmp_path, "truth.json", [1]), coco(tmp_path / "val", "ground_truth.json", [1])):
        text = file.read_text()
        for number, board in enumerate("aabb", 1):
            text = text.replace(f"cam/{number}.png", f"cam/{board}_{number}.png")
        file.write_text(text)
    found = [{"image_id": 2, "category_id": 1, "bbox": [1, 1, 3, 3], "score": 0.8}]
    Path("val/predictions.json").write_text(json.dumps(found))
    Path("val/inspection.json").write_text(json.dumps({"threshold": 0.5, "group": "^([ab])_"}))
    raters = ["--raters", "model=val", "--reference", "truth.json"]
    for out, words, parts, escape in (("own", [], 2, 0.0), ("each", ["--group", ".+"], 4, 1.0)):
        assert run("agreement", [*raters, *words, "--out", out]) == 0
        content = json.loads(Path(out, "agreement.json").read_text())
        assert (content["parts"], content["raters"]["model"]["escape"]["value"]) == (parts, escape)
    assert "images grouped by ^([ab])_" in capsys.readouterr().out
