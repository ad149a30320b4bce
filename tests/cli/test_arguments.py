"""The command line's arguments: what is accepted, as what, and what a wrong one is told."""

from __future__ import annotations

import re
import shlex
from contextlib import AbstractContextManager
from contextlib import nullcontext as accepted
from typing import Any

import pytest
from ultralytics.utils import DEFAULT_CFG_DICT

from moat_det.cli.command import Arguments, load_command
from moat_det.cli.parser import parse
from moat_det.engine.arguments import check_overrides, engine_options, training_defaults
from moat_det.errors import UserError

COMMANDS = ("train", "val", "detect")
NEEDED = {"train": "--data d.yaml", "val": "--weights w.pt", "detect": "--weights w.pt --source x"}


def parse_arguments(command: str, words: list[str]) -> Arguments:
    return parse(load_command(command), words)


def refused(*parts: str) -> AbstractContextManager[object]:
    """A UserError of one line that says each of `parts`, in this order."""
    return pytest.raises(UserError, match="^[^\n]*" + "[^\n]*".join(map(re.escape, parts)) + "[^\n]*$")


@pytest.mark.parametrize(
    ("words", "expected", "outcome"),
    [
        # Spelling
        ("--epochs 3", {"epochs": 3}, accepted()),
        ("--epochs=3", {"epochs": 3}, accepted()),
        ("--weight-decay 0.1", {"weight_decay": 0.1}, accepted()),
        ("--weight_decay 1e-4", {"weight_decay": 1e-4}, accepted()),
        ("--epo 3", None, refused("--epo: did you mean --epochs? (see --help)")),
        ("--epocs 3", None, refused("unknown option --epocs: did you mean --epochs? (see --help)")),
        ("--opt SGD", None, refused("did you mean --optimizer?")),
        ("--weight x.pt", None, refused("did you mean --weights?")),
        ("--batch-size 4", None, refused("did you mean --batch?")),
        ("--savetxt", None, refused("did you mean --save-txt?")),
        ("--no-save-txt", None, refused("did you mean --save-txt false?")),
        ("--half", None, refused("--half", "quantize 16")),
        ("--qqqq 1", None, refused("unknown option --qqqq (see --help)")),
        ("-epochs 3", None, refused("unknown option -epochs: did you mean --epochs?")),
        ("--", None, refused("unknown option --")),
        ("--task segment", None, refused("--task", "leave it out")),
        ("epochs=3", None, refused("unexpected 'epochs=3': write --epochs 3")),
        ("train", None, refused("unexpected 'train'", "--data takes one value")),
        ("--epochs 3 4", None, refused("unexpected '4'", "--epochs takes one value")),
        # Booleans
        ("--save-txt", {"save_txt": True}, accepted()),
        ("--save-txt --epochs 3", {"save_txt": True, "epochs": 3}, accepted()),
        ("--save_txt false", {"save_txt": False}, accepted()),
        ("--save-txt=True", {"save_txt": True}, accepted()),
        ("--save-txt yes", None, refused("--save-txt yes: must be true or false")),
        ("--cache", {"cache": True}, accepted()),
        ("--cache ram", {"cache": "ram"}, accepted()),
        ("--amp BF16", {"amp": "bf16"}, accepted()),
        ("--amp half", None, refused("--amp half", "fp16")),
        # Numbers
        ("--save-period -1", {"save_period": -1}, accepted()),
        ("--device -1", {"device": -1}, accepted()),
        ("--batch=-1", {"batch": -1}, accepted()),
        ("--batch .5", {"batch": 0.5}, accepted()),
        ("--epochs 1e2", {"epochs": 100}, accepted()),
        ("--epochs 2.5", None, refused("--epochs 2.5: must be an integer")),
        ("--epochs true", None, refused("--epochs true: must be an integer")),
        ("--epochs none", None, refused("--epochs none: must be an integer")),
        ("--epochs 0", None, refused("--epochs 0", ">= 1")),
        ("--lr0 3", None, refused("--lr0 3", "between 0.0 and 1.0")),
        ("--lr0 -0.1", None, refused("--lr0 -0.1", "between 0.0 and 1.0")),
        ("--lr0 nan", None, refused("--lr0 nan: must be a number")),
        ("--box inf", None, refused("--box inf: must be a number")),
        ("--conf none", {"conf": None}, accepted()),
        ("--quantize int8", {"quantize": 8}, accepted()),
        ("--quantize 7", None, refused("--quantize 7", "fp16")),
        # Text
        ("--name 007", {"name": "007"}, accepted()),
        ("--name=-first", {"name": "-first"}, accepted()),
        ("--name true", {"name": "true"}, accepted()),
        ("--name none", {"name": None}, accepted()),
        ("--split test", {"split": "test"}, accepted()),
        # Several values
        ("--imgsz 224", {"imgsz": 224}, accepted()),
        ("--imgsz 640 512 --epochs 3", {"imgsz": [640, 512], "epochs": 3}, accepted()),
        ("--imgsz [640, 512]", {"imgsz": [640, 512]}, accepted()),
        ("--imgsz '[640, 512]'", {"imgsz": [640, 512]}, accepted()),
        ("--imgsz native", {"imgsz": "native"}, accepted()),
        ("--imgsz auto", {"imgsz": "auto"}, accepted()),
        ("--imgsz int", None, refused("--imgsz int: must be an integer or several integers or auto or native")),
        ("--imgsz big", None, refused("--imgsz big: must be an integer or several integers")),
        ("--imgsz 640 big", None, refused("--imgsz 640,big: must be an integer")),
        ("--classes 0 2 3", {"classes": [0, 2, 3]}, accepted()),
        ("--classes 0,2,3", {"classes": [0, 2, 3]}, accepted()),
        ("--classes 0", {"classes": 0}, accepted()),
        ("--classes []", None, refused("--classes []: must be")),
        ("--embed 3", {"embed": [3]}, accepted()),
        ("--device 0,1", {"device": [0, 1]}, accepted()),
        ("--device -1 -1", {"device": [-1, -1]}, accepted()),
        ("--device cuda:1", {"device": "cuda:1"}, accepted()),
        ("--freeze 0 23.cv2", {"freeze": [0, "23.cv2"]}, accepted()),
        ("--scale 0.5 1.5", {"scale": [0.5, 1.5]}, accepted()),
        ("--scale '(0.5, 1.5)'", {"scale": [0.5, 1.5]}, accepted()),
        ("--fraction 0,0", None, refused("--fraction 0,0", "[train, val]")),
        # Missing and repeated values
        ("--epochs", None, refused("--epochs needs a value, an integer")),
        ("--epochs --save-txt", None, refused("--epochs needs a value")),
        ("--epochs=", None, refused("--epochs needs a value")),
        ("--name ''", None, refused("--name needs a value")),
        ("--epochs 3 --epochs 3", {"epochs": 3}, accepted()),
        ("--epochs 3 --epochs 4", None, refused("--epochs is given twice: 3 and 4")),
        ("--save-txt --save_txt false", None, refused("--save-txt is given twice")),
    ],
)
def test_the_engines_arguments(
    words: str, expected: dict[str, Any] | None, outcome: AbstractContextManager[object]
) -> None:
    with outcome:
        engine = parse_arguments("train", ["--data", "d.yaml", *shlex.split(words)]).engine
        assert engine == {"data": "d.yaml", **(expected or {})}
        assert {name: type(value) for name, value in engine.items() if name != "data"} == {
            name: type(value) for name, value in (expected or {}).items()
        }


@pytest.mark.parametrize(
    ("command", "words", "engine", "own", "outcome"),
    [
        ("train", "--data d", {"data": "d"}, {}, accepted()),
        ("train", "--data d --backbone b", {"data": "d"}, {"backbone": "b"}, accepted()),
        ("train", "--data d --model m.yaml", {"data": "d", "model": "m.yaml"}, {}, accepted()),
        ("train", "--data d --weights w.pt", {"data": "d"}, {"weights": "w.pt"}, accepted()),
        ("train", "--data d --pretrained w.pt", {"data": "d"}, {"weights": "w.pt"}, accepted()),
        ("train", "--data d --pretrained false", {"data": "d", "pretrained": False}, {}, accepted()),
        ("train", "--resume", {"resume": True}, {}, accepted()),
        ("train", "--resume r/last.pt", {"resume": "r/last.pt"}, {}, accepted()),
        ("train", "--resume false", {}, {}, refused("needs --data")),
        ("train", "", {}, {}, refused("usage: moat train --data DATA", "(see --help)")),
        ("train", "--epochs 3", {}, {}, refused("moat train needs --data", "demo")),
        ("train", "data=d", {}, {}, refused("write --data d")),
        ("train", "demo", {}, {}, refused("unexpected 'demo': write every argument as --name value")),
        ("train", "--data d --weights a.pt --pretrained b.pt", {}, {}, refused("a.pt and b.pt")),
        ("train", "--data d --model m.yaml --backbone b", {}, {}, refused("--model", "--backbone exclude")),
        ("train", "--data d --model m.pt", {}, {}, refused("--model m.pt", "use --weights m.pt")),
        ("train", "--data d --annotations a", {}, {}, refused("--annotations", "belongs to moat val")),
        (
            "val",
            "--weights w --data d --annotations a.json",
            {"data": "d"},
            {"weights": "w", "annotations": "a.json"},
            accepted(),
        ),
        ("val", "", {}, {}, refused("usage: moat val --weights WEIGHTS")),
        ("val", "--data d", {}, {}, refused("moat val needs --weights")),
        ("val", "--model m.pt --data d", {}, {}, refused("--model m.pt: use --weights")),
        ("val", "--weights w --backbone b", {}, {}, refused("--backbone", "belongs to moat train")),
        (
            "detect",
            "--weights w --source 0 --save-csv --save-json",
            {"source": "0", "save_json": True},
            {"weights": "w", "save_csv": True},
            accepted(),
        ),
        ("detect", "--weights w --source a,b.png", {"source": "a,b.png"}, {"weights": "w"}, accepted()),
        ("detect", "", {}, {}, refused("usage: moat detect --weights WEIGHTS --source SOURCE")),
        ("detect", "--source x", {}, {}, refused("moat detect needs --weights")),
        ("detect", "--weights w", {}, {}, refused("moat detect needs --source")),
        ("detect", "--weights w --source a.png b.png", {}, {}, refused("'b.png'", "quote a glob")),
    ],
)
def test_the_commands_own_options(
    command: str,
    words: str,
    engine: dict[str, Any],
    own: dict[str, Any],
    outcome: AbstractContextManager[object],
) -> None:
    with outcome:
        arguments = parse_arguments(command, words.split())
        assert (arguments.engine, arguments.own, arguments.debug) == (engine, own, False)


@pytest.mark.parametrize("command", COMMANDS)
def test_debug_is_kept_apart(command: str) -> None:
    arguments = parse_arguments(command, [*NEEDED[command].split(), "--debug"])
    assert arguments.debug is True
    assert "debug" not in {**arguments.engine, **arguments.own}


@pytest.mark.parametrize(
    ("overrides", "outcome"),
    [
        ({"data": "d.yaml", "epochs": 3, "weights": "w.pt"}, accepted()),
        ({"save_dir": "x", "augmentations": []}, accepted()),
        ({"epocs": 3}, refused("unknown argument epocs: did you mean epochs?")),
        ({"savetxt": True}, refused("did you mean save_txt?")),
        ({"weight": "w.pt"}, refused("did you mean weights?")),
        ({"annotations": "a.json"}, refused("unknown argument annotations")),
        ({"half": True}, refused("half", "quantize")),
    ],
)
def test_keyword_arguments(overrides: dict[str, Any], outcome: AbstractContextManager[object]) -> None:
    with outcome:
        check_overrides(overrides, own=("weights",))


def test_every_argument_of_the_engine_is_an_option() -> None:
    """The engine's default.yaml is read by its layout: an upgrade that changes the layout fails here."""
    known = engine_options()
    assert set(known) == set(DEFAULT_CFG_DICT) - {"task", "mode"}
    kinds = {"bool", "int", "float", "str", "list", "list[int]", "tuple", "native", "auto"}
    for option in known.values():
        assert option.types, option.name
        assert option.types <= kinds, option.name
        assert option.text, option.name
        assert option.section, option.name


@pytest.mark.parametrize("name", sorted(set(DEFAULT_CFG_DICT) - {"task", "mode", "model", "data", "resume"}))
def test_every_default_of_the_engine_can_be_typed(name: str) -> None:
    default = DEFAULT_CFG_DICT[name]
    assert parse_arguments("train", ["--data", "d.yaml", f"--{name}={default}"]).engine[name] == default


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_option_once(
    command: str, flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(command, ["--no-such-option", flag])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    body = text[text.index("Main:") :]
    rows = re.findall(r"^  (--[\w-]+)", body[: body.index("Also accepted")], re.MULTILINE)
    rest = re.findall(r"--[\w-]+", body[body.index("Also accepted") :])
    assert sorted(rows + rest) == sorted(
        [*(option.flag for option in load_command(command).known.values()), "--version"]
    )
    assert max(map(len, text.splitlines())) <= 100


def test_help_shows_our_training_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments("train", ["--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    ours = training_defaults()
    assert set(ours) <= set(engine_options())
    assert re.search(rf" --optimizer STR [^-]*\(default: {ours['optimizer']}\) --", text)
    assert re.search(r" --epochs INT [^-]*\(default: 100\) --", text)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_arguments("detect", ["--version"])
    assert stopped.value.code == 0
    assert re.fullmatch(r"moat_det \d+\.\d+\.\d+\n", capsys.readouterr().out)
