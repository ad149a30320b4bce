"""The command lines: train, val and detect."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moat_det.engine.arguments import Arguments, parse_arguments
from moat_det.engine.detections import DetectionFiles
from moat_det.engine.log import show_log
from moat_det.engine.model import MOAT
from moat_det.engine.options import Command
from moat_det.errors import UserError
from moat_det.messages import some

logger = logging.getLogger(__name__)

DEFAULT_BACKBONE = "tiny_moat2"


def train(argv: Sequence[str] | None = None) -> None:
    """`moat-train`, `train.py`: train a detector; see `--help`."""
    _run("train", _train, argv)


def val(argv: Sequence[str] | None = None) -> None:
    """`moat-val`, `val.py`: measure a detector; see `--help`."""
    _run("val", _val, argv)


def detect(argv: Sequence[str] | None = None) -> None:
    """`moat-detect`, `detect.py`: detect in images and videos; see `--help`."""
    _run("detect", _detect, argv)


def _run(command: Command, action: Callable[[Arguments], None], argv: Sequence[str] | None) -> None:
    """Do `action`; a user's mistake ends in one line and exit code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    show_log()
    try:
        action(parse_arguments(command, words))
    except UserError as error:
        if "--debug" in words:
            raise
        sys.exit(_complain(command, str(error)))
    except BrokenPipeError:  # `--help | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if "--debug" in words:
            raise
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}:
            way_out = "free some space or choose another --project; what was written before is whole"
            sys.exit(_complain(command, f"{error.filename or 'a file'} cannot be written: {error.strerror}; {way_out}"))
        sys.exit(_fail(command, error))
    except KeyboardInterrupt:
        print(f"\n{command}: stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "--debug" in words:
            raise
        sys.exit(_fail(command, error))


def _complain(command: Command, message: str) -> int:
    print(f"{command}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _fail(command: Command, error: Exception) -> int:
    """What is no mistake of the user's, as far as we know."""
    reason = " ".join(str(error).split()) or "no reason given"
    print(f"{command}: failed with {type(error).__name__}: {reason}; --debug shows where", file=sys.stderr)
    return 1


def _train(arguments: Arguments) -> None:
    engine, own = dict(arguments.engine), arguments.own
    resume = engine.get("resume")
    if resume:
        model = MOAT(resume if isinstance(resume, str) else DEFAULT_BACKBONE)
    else:
        model = MOAT(engine.pop("model", None) or own.get("backbone") or DEFAULT_BACKBONE)
    model.train(**engine, **{name: value for name, value in own.items() if name != "backbone"})


def _val(arguments: Arguments) -> None:
    own = dict(arguments.own)
    MOAT(_weights(own.pop("weights"))).val(**arguments.engine, **own)


def _detect(arguments: Arguments) -> None:
    own = dict(arguments.own)
    engine = {"save": True, "conf": 0.25, "name": "detect", **arguments.engine}
    as_json, as_csv = engine.pop("save_json", False), own.pop("save_csv", False)
    model = MOAT(_weights(own.pop("weights")))
    files, images, found = DetectionFiles(), 0, 0
    for result in model.predict(stream=True, **engine, **own):
        images += 1
        found += len(result)
        if as_json or as_csv:
            files.add(result)
    predictor: Any = model.predictor
    folder = Path(predictor.save_dir)
    if as_json:
        files.write_json(folder / "predictions.json")
    if as_csv:
        files.write_csv(folder / "detections.csv")
    if predictor.unreadable:
        named = some([str(path) for path in predictor.unreadable], 5)
        logger.warning(f"{len(predictor.unreadable)} unreadable file(s) were skipped: {named}")
    if images == 0:
        raise UserError(f"--source {engine['source']}: none of its images can be read")
    logger.info(f"{found} detections in {images} images{f'; results in {folder}' if folder.is_dir() else ''}")


def _weights(path: str) -> str:
    if Path(path).suffix != ".pt":
        raise UserError(
            f"--weights {path}: must be a checkpoint (.pt) that train.py wrote, e.g. runs/train/weights/best.pt"
        )
    return path
