"""What a subcommand is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from moat_det.errors import UserError
from moat_det.options import Option, option, options_of
from moat_det.paths import expand_home

COMMANDS = {
    "train": "Train a defect detector on labelled images.",
    "val": "Measure a trained detector: the COCO mAP by pycocotools.",
    "detect": "Detect defects in images or videos; draw and write what is found.",
    "track": "Follow defects over the frames of a belt, and count each once.",
    "export": "Write a detector as a file for other runtimes, compared with its checkpoint.",
    "check": "Look for everything that may be wrong with a dataset, and recommend how to train it.",
    "check-labels": "Rank the labels that are probably wrong, by what models detect.",
    "convert": "Write a dataset in another format, and split it.",
    "show-batch": "Draw the training images as the model will see them: augmented, with their boxes.",
    "mine-negatives": "List the good images on which a model fires, to train on them.",
    "agreement": "Measure how well inspectors, and the model, agree about the same parts.",
    "drift": "Tell whether new images, and what is found in them, are still like those of a validation.",
    "compare": "Set validations side by side: whether a model is better, as a difference with an interval.",
    "classify train": "Train a backbone as a classifier of whole pictures.",
    "classify val": "Measure a classifier: top-1, top-5, each class, the confusion matrix.",
    "classify predict": "Name what is in pictures, with a classifier.",
    "pretrain": "Train a backbone on pictures without labels, to start a detector from it.",
    "backbones": "List the backbones, ours and those of timm, with their size and the licence of their weights.",
    "weights": "Write the weights of a backbone as .safetensors, bit for bit.",
    "bench": "Compare the accuracy of detectors: models x datasets x seeds, on test splits.",
    "tune": "Search the training settings that suit a dataset, within a budget of time.",
    "benchmark": "Measure time and peak memory of detectors, or of attention alone.",
    "demo": "Draw the demo set: parts with defects, YOLO labels and COCO annotations.",
}
"""Every subcommand and what it does; `moat NAME` is the module of that name, or of the second word in a folder."""

ON_ARTEFACTS = ("detect", "val")
"""Those that also have a module in `cli/commands/artefact/`, for exported models."""

TRAINING = ("train", "classify train", "pretrain", "check-labels")
"""Those that train; others start processes that do."""

T = TypeVar("T")


@dataclass(frozen=True)
class Debugging:
    """What every subcommand takes."""

    debug: bool = option(False, "show the traceback of an error")


@dataclass(frozen=True)
class Arguments:
    """What the user gave, and only that.

    Attributes:
        engine: The engine's arguments under its own names, parsed and type-checked.
        own: Our options.
        debug: Show tracebacks.
        words: All of it as it was typed.
    """

    engine: dict[str, Any]
    own: dict[str, Any]
    debug: bool
    words: Sequence[str] = ()

    def take(self, kind: type[T]) -> T:
        """Take the options that a dataclass declares out of `own`, and give them as one."""
        names = options_of(kind)
        return kind(**{name: self.own.pop(name) for name in list(self.own) if name in names})


@dataclass(frozen=True)
class EngineHelp:
    """How the help of a subcommand that takes every argument of the engine shows them.

    Attributes:
        main: Those that lead, beside our options, with what they mean here.
        general: Names of those that follow.
        sections: Of the engine's default.yaml, shown whole.
        defaults: Those that are not the engine's.
        without: Names of those that it does not take.
    """

    main: Mapping[str, str]
    general: str
    sections: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    without: str = ""


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        name: As in `moat NAME`.
        run: Does it; gives the exit code, or None for 0.
        options: The dataclasses that declare its options.
        about: More than the one sentence of `COMMANDS`, for the help.
        usage: The words after the name; made from the options where it is not given.
        examples: Words after `moat`.
        engine: It takes the engine's arguments too.
        check: Raises UserError where values, by their options' names, are at odds.
        refused: Options that it does not take though another of its kind does, and why.
    """

    name: str
    run: Callable[[Arguments], int | None]
    options: tuple[type, ...]
    about: str = ""
    usage: str = ""
    examples: tuple[str, ...] = ()
    engine: EngineHelp | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def own(self) -> dict[str, Option]:
        """Its own options by name."""
        return options_of(*self.options, Debugging)

    @property
    def known(self) -> dict[str, Option]:
        """All that it takes by name; an option of its own stands before the engine's of the same name."""
        if self.engine is None:
            return self.own
        from moat_det.engine.arguments import engine_options

        left_out = self.engine.without.split()
        return {**{name: each for name, each in engine_options().items() if name not in left_out}, **self.own}


def split_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Give the subcommand that words begin with, empty where it is none, and the words after it.

    Raises:
        UserError: It has a second word, which is missing, and no help is asked for.
    """
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS and len(words) >= count:
            return name, list(words[count:])
    seconds = [name.partition(" ")[2] for name in COMMANDS if words and name.startswith(f"{words[0]} ")]
    if seconds and words[1:2] not in (["-h"], ["--help"]):
        raise UserError(f"moat {words[0]}: say what to do: {', '.join(f'moat {words[0]} {word}' for word in seconds)}")
    return "", list(words)


def load_command(name: str, words: Sequence[str] = ()) -> Command:
    """Import the module of a subcommand.

    Args:
        name: Of the subcommand.
        words: After it. Where they name an exported model, it is the module that needs no torch.

    Raises:
        UserError: A package that the subcommand needs is not installed.
    """
    module = name.replace("-", "_").replace(" ", ".")
    if name in ON_ARTEFACTS and _is_for_artefact(words):
        module = f"artefact.{module}"
    try:
        return import_module(f"moat_det.cli.commands.{module}").COMMAND
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("moat_det"):
            raise
        raise UserError(
            f"moat {name} needs the package {error.name}, which is not installed: pip install moat_det installs all; "
            f"without torch there are {' and '.join(ON_ARTEFACTS)}, with what moat export wrote as --weights"
        ) from None


def _is_for_artefact(words: Sequence[str]) -> bool:
    """Whether words give an exported model as --weights; without torch, also where they give none."""
    from moat_det.runtime.load import is_artefact

    given = [
        value if equals else following
        for word, following in zip(words, [*words[1:], ""], strict=False)
        for name, equals, value in [word.partition("=")]
        if name == "--weights"
    ]
    return is_artefact(expand_home(given[-1])) if given else find_spec("torch") is None
