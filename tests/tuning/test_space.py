from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moat_det.engine.arguments import training_defaults
from moat_det.errors import UserError
from moat_det.tuning.space import Parameter, default_space, read_space
from moat_det.tuning.study import Study


class Drawn:
    """Stands for a trial of Optuna's; draws the same share of every range."""

    def __init__(self, share: float) -> None:
        self.share = share

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        return low + self.share * (high - low)

    def suggest_int(self, name: str, low: int, high: int, log: bool) -> int:
        return round(low + self.share * (high - low))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[-1]


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "space.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_what_is_searched_by_default_holds_the_default_settings() -> None:
    found = {each.name: each for each in read_space(default_space(), {}, {})}
    assert found["lr0"].default == training_defaults()["lr0"]
    assert {"lr0", "weight_decay", "drop_path", "layer_decay", "augmentation", "close_mosaic"} <= set(found)
    assert found["drop_path"].default is None


def test_what_is_given_is_not_searched(tmp_path: Path) -> None:
    file = write(tmp_path, "lr0: {low: 0.0001, high: 0.01}\nmosaic: {low: 0, high: 1}\n")
    assert [each.name for each in read_space(file, {"lr0": 0.01}, {})] == ["mosaic"]
    assert read_space(file, {}, {})[1].default == 1.0
    (alone,) = read_space(file, {"lr0": 0.01, "augmentation": "surface"}, {})
    assert alone.default == 0.5, "the preset's"
    with pytest.raises(UserError, match="nothing is left to search"):
        read_space(file, {"lr0": 0.01, "mosaic": 0.5}, {})


def test_what_follows_another_argument_is_left_out_by_default(tmp_path: Path) -> None:
    (nominal,) = read_space(write(tmp_path, "nbs: {choices: [null, 64]}\n"), {}, {})
    assert nominal.default is None
    with pytest.raises(UserError, match="must hold the default, null"):
        read_space(write(tmp_path, "nbs: {choices: [16, 64]}\n"), {}, {})


def test_values_have_three_digits_and_stay_in_their_range() -> None:
    rate = Parameter("lr0", 0.001, 0.00012345, 0.0098765)
    assert rate.suggest(Drawn(0.5)) == 0.005
    assert rate.suggest(Drawn(0.0)) == 0.00012345
    assert rate.suggest(Drawn(1.0)) == 0.0098765
    whole = Parameter("close_mosaic", 10, 0, 20).suggest(Drawn(0.37))
    assert (whole, type(whole)) == (7, int)
    assert Parameter("augmentation", None, choices=(None, "light")).suggest(Drawn(0)) == "light"


def test_the_default_is_tried_as_it_is_and_a_narrow_range_in_its_own_digits(tmp_path: Path) -> None:
    space = read_space(write(tmp_path, "ema: {low: 0.99, high: 0.99999}\n"), {}, {})
    (ema,) = space
    assert ema.default == 0.9999
    first = Study(tmp_path, {}, space, seed=0, epochs=1, prune=False)
    trial = first.next(None)
    assert trial is not None
    assert trial.values == {"ema": 0.9999}
    assert first.is_default(trial.values)
    values = [ema.suggest(Drawn((value - 0.99) / 0.00999)) for value in (0.99951, 0.9997, 0.99986)]
    assert values == [0.99951, 0.9997, 0.99986]
    assert Parameter("x", 5.0, 0.0, 100.0).suggest(Drawn(0.000123456)) == 0.0123
    assert Parameter("x", 5.0, -1.0, 1.0).suggest(Drawn(0.5)) == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[lr0]", "must name arguments of moat train"),
        ("", "must name arguments of moat train"),
        ("lr: {low: 0.1, high: 1}", "'lr' is no argument of moat train (did you mean 'lrf'?)"),
        ("epochs: {low: 1, high: 9}", "epochs cannot be searched: because"),
        ("lr0: 0.1", "write {low: A, high: B}"),
        ("lr0: {low: 0.1}", "write {low: A, high: B}"),
        ("lr0: {low: 0.1, high: 0.01}", "low below high"),
        ("lr0: {low: 0, high: 0.01, log: true}", "above 0"),
        ("lr0: {low: 0.01, high: 0.1}", "must hold the default, 0.001"),
        ("augmentation: {choices: [light, surface]}", "must hold the default, null"),
        ("augmentation: {choices: [null, ligth]}", "did you mean 'light'?"),
        ("drop_path: {choices: [null, 1.5]}", "--drop-path 1.5: must be a rate"),
        ("momentum: {low: 0.8, high: 1.5}", "--momentum 1.5"),
        ("lr0: {choices: [0.001]}", "two choices or more"),
        ("lr0: {choices: [0.001, [1, 2]]}", "two choices or more"),
    ],
)
def test_what_cannot_be_searched_is_a_line_that_names_file_and_value(tmp_path: Path, text: str, part: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_space(file, {}, {"epochs": "because"})
    assert part in str(caught.value)
    assert str(caught.value).startswith(str(file))
