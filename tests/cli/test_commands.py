"""The command `moat`: its subcommands, what they import, and how they end."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moat_det.cli.command import COMMANDS, load_command
from moat_det.cli.main import main, run
from moat_det.cli.runner import end_well
from moat_det.detector.config import config_names
from moat_det.engine import MOAT
from moat_det.errors import UserError
from moat_det.options import options_of


def moat(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "moat_det", *words], capture_output=True, text=True, check=False)


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, purpose in COMMANDS.items():
        assert any(line.split() == [*name.split(), *purpose.split()] for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "moat: name a command: train, val, "),
        (["trian"], "moat: unknown command trian: did you mean train? (see --help)"),
        (["mine_negatives"], "did you mean mine-negatives?"),
        (["--data", "d.yaml"], "moat: unknown command --data"),
        (["check"], "check: usage: moat check --data YAML [--out FOLDER]"),
        (["convert", "--seed", "1"], "convert: moat convert needs --from"),
        (["demo", "--seed", "1"], "demo: the built-in demo set is always the same: name a folder"),
        (["demo", "--out", "d", "--size", "3"], "demo: --size 3: give height and width"),
        (["demo", "--out", "d", "--trian", "3"], "demo: unknown option --trian: did you mean --train?"),
        (["demo", "--out", "d", "e"], "demo: unexpected 'e': --out takes one value"),
        (["convert", "--from", "yol"], "convert: --from yol: must be coco or voc or yolo"),
        (["weights", "--out", "w.safetensors"], "weights: moat weights needs NAME_OR_PATH: "),
        (["weights", "a", "b", "--out", "w.safetensors"], "weights: unexpected 'b': "),
        (["check", "--data", ""], "check: --data needs a value"),
        (["show-batch", "--out", "b.jpg", "--data", "d", "--annotations", "a"], "it belongs to moat val"),
        (["mine-negatives", "--out", "n.txt", "--weights", "w.pt"], "needs --source"),
    ],
)
def test_a_mistake_ends_in_a_line_and_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_all_that_a_command_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(name, ["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: moat {name}" in text
    words = set(text.replace(",", " ").split())
    assert {option.flag for option in load_command(name).known.values()} <= words
    taken_too = {"show-batch": "train", "check-labels": "train", "mine-negatives": "detect"}
    if name in taken_too:
        not_begun = {"resume"} if name == "show-batch" else set()  # a run that goes on begins with no batch of its own
        assert set(load_command(taken_too[name]).known) - not_begun < set(load_command(name).known)


@pytest.mark.parametrize("name", ["check", "convert", "demo"])
def test_a_light_command_shows_its_help_without_torch_and_the_engine(name: str) -> None:
    program = (
        "import sys\n"
        "from moat_det.cli.main import main\n"
        f"try: main(['{name}', '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'ultralytics', 'cv2', 'numpy'} & set(sys.modules)\n"
        f"others = {{name for name in sys.modules if name.startswith('moat_det.cli.commands.')}}\n"
        f"assert 'moat_det.cli.commands.{name}' in others and 'moat_det.cli.commands.train' not in others\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version() -> None:
    done = moat("--version")
    assert done.stdout.startswith("moat_det ")
    assert done.returncode == 0


def test_every_model_yaml_is_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"tiny_moat0", "tiny_moat0-p2", "tiny_moat0-p6", "moat4"} <= set(config_names())
    assert len(MOAT("tiny_moat0-p2").model.stride) == 4
    for model in ("tiny_moat0-p3", "tiny_moat0-p6"):
        assert run("train", ["--data", str(tmp_path / "absent.yaml"), "--model", model]) == 2
        error = capsys.readouterr().err
        assert ("no model is named 'tiny_moat0-p3' (did you mean" in error) == (model == "tiny_moat0-p3")
        assert ("absent.yaml" in error) == (model == "tiny_moat0-p6")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", "no model is named 'resnet18' (did you mean 'timm/resnet18'?)"),
        ("Timm/ResNet18", "(did you mean 'timm/resnet18'?)"),
        ("timm/vit_tiny_patch16_224", "train: timm/vit_tiny_patch16_224: its maps are of stride 16"),
        ({"name": "timm/resnet18", "pretrained": True}, "my.yaml: backbone: 'pretrained' is no setting of a backbone"),
        ({"name": "timm/resnet18", "in_channels": 4}, "my.yaml: backbone: 'in_channels' is no setting of a backbone"),
        ({"name": "timm/resnet18", "widht": 1}, "my.yaml: backbone: timm/resnet18 cannot be built with widht: 1"),
    ],
)
def test_backbones_that_are_none(model: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not isinstance(model, str):
        (tmp_path / "my.yaml").write_text(json.dumps({"backbone": model, "neck": {}}))
        model = str(tmp_path / "my.yaml")
    assert run("train", ["--data", "demo", "--model", model]) == 2
    assert message in capsys.readouterr().err


def test_no_option_is_declared_twice() -> None:
    for name in COMMANDS:
        command = load_command(name)
        assert len(command.own) == sum(len(options_of(kind)) for kind in command.options) + len(["debug"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("two\nlines"), 2, "name: two lines\n"),
        (KeyboardInterrupt(), 130, "\nname: stopped\n"),
        (PermissionError(13, "no", "f.txt"), 2, "name: f.txt cannot be written: no; get the permission or choose"),
        (OSError(28, "full", "f.txt"), 2, "name: f.txt cannot be written: full; free some space or choose another"),
        (FileExistsError(17, "there", "f"), 2, "name: f cannot be written: there; a file stands where a folder is"),
        (NotADirectoryError(20, "no", "f"), 2, "name: f cannot be written: no; a file stands where a folder is"),
        (IsADirectoryError(21, "no", "f"), 2, "name: f cannot be written: no; a folder stands where a file is"),
        (OSError(errno.ENAMETOOLONG, "long", "f"), 2, "name: f cannot be written: long; choose a shorter name; what"),
        (FileNotFoundError(2, "absent"), 1, "name: failed with FileNotFoundError: [Errno 2] absent; --debug"),
        (ValueError(), 1, "name: failed with ValueError: no reason given; --debug shows where\n"),
    ],
)
def test_how_it_ends(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def action() -> None:
        raise error

    assert end_well("name", action, debug=False) == code
    assert capsys.readouterr().err.startswith(line)
    if isinstance(error, Exception):
        with pytest.raises(type(error)):
            end_well("name", action, debug=True)


def test_what_our_modules_log_is_printed_once() -> None:
    program = (
        "import logging\n"
        "from moat_det.cli.runner import show_log\n"
        "show_log(); show_log()\n"
        "import moat_det.engine\n"
        "logging.getLogger('moat_det.data').info('once')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "once\n"


def test_demo_alone_draws_the_built_in_set_once(
    user_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = user_cache / "data.yaml"
    monkeypatch.setattr("moat_det.demo.demo_dataset", lambda: drawn)
    main(["demo"])
    assert capsys.readouterr().out.split() == [str(drawn)]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--debug"], True),
        (["--debug=true"], True),
        (["--debug", "true"], True),
        (["--debug", "false"], False),
        (["--debug=false"], False),
        ([], False),
    ],
)
def test_debug_shows_the_error_itself(words: list[str], shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", "/nowhere/data.yaml", *words]
    if shown:
        with pytest.raises(UserError):
            run("check", given)
    else:
        assert run("check", given) == 2
        assert capsys.readouterr().err.startswith("check: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_to_end_lets_the_work_be_put_in_order(name: str) -> None:
    program = f"""
import os, signal, sys, time
from moat_det.cli.runner import end_well
def work():
    try:
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
    finally:
        print("put in order")
code = end_well("name", work, debug=False)
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + getattr(signal, name)
    assert (done.stdout, done.stderr) == ("put in order\n", "\nname: stopped\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_the_second_signal_of_a_closed_terminal_cuts_nothing_off() -> None:
    program = """
import os, signal, sys, time
from moat_det.cli.runner import end_well
def work():
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGHUP)
        print("put in order")
code = end_well("name", work, debug=False)
assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (128 + signal.SIGHUP, "put in order\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_what_is_ignored_stays_so() -> None:
    program = """
import os, signal, sys
from moat_det.cli.runner import end_well
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.exit(end_well("name", lambda: os.kill(os.getpid(), signal.SIGHUP), debug=False))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_current_folder_that_was_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("os.getcwd", gone)
    assert run("demo", ["--out", str(tmp_path / "set")]) == 2
    monkeypatch.undo()
    assert capsys.readouterr().err == "demo: the current folder is no longer there; change to one that is\n"
    assert not (tmp_path / "set").exists()


def test_the_tag_of_a_model_of_timm_is_no_suffix_of_a_file() -> None:
    check = load_command("train").check
    assert check
    check({"model": "timm/mobilevit_xxs.cvnets_in1k", "data": "data.yaml"})
    with pytest.raises(UserError, match=r"--model best\.pt: must be a model YAML"):
        check({"model": "best.pt", "data": "data.yaml"})
