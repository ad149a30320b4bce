"""What an option is. Each is declared once, as a field of a dataclass; command line, checks and help derive from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from moat_det.messages import nearest

# Names that people know from elsewhere and that no likeness leads to the right one.
_HINTS = {
    "half": "it is quantize 16 now",
    "int8": "it is quantize 8 now",
    "task": "leave it out, everything here is detection",
    "mode": "leave it out, the command is the mode",
}


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: With underscores; one at the end, after a word of Python's own, is not spelled.
        types: What a value may be: `bool`, `int`, `float`, `str`, `Path`, `list`, `list[int]`, `list[str]` or `tuple`,
            or a word as it is.
        text: What it does, for the help.
        default: The value when it is not given.
        required: It must be given.
        positional: It is given without its name.
        metavar: What stands for the value in the help; else the types do.
        section: The heading over it in the help.
        check: Gives the value as it is to be used; raises ValueError or TypeError, saying what is allowed.
    """

    name: str
    types: frozenset[str]
    text: str
    default: Any = None
    required: bool = False
    positional: bool = False
    metavar: str = ""
    section: str = ""
    check: Callable[[Any], Any] | None = None

    @property
    def flag(self) -> str:
        """The spelling that help and messages show."""
        return self.metavar if self.positional else "--" + self.name.rstrip("_").replace("_", "-")

    @property
    def bare(self) -> bool:
        """May stand without a value, which means true."""
        return "bool" in self.types

    @property
    def many(self) -> bool:
        """May take several values."""
        return any(kind.startswith(("list", "tuple")) for kind in self.types)


def option(default: Any, text: str, *, takes: str = "", metavar: str = "", positional: bool = False) -> Any:
    """Declare an option, as a field of a dataclass whose module has `from __future__ import annotations`.

    Args:
        default: The value when it is not given; `...` where it must be given.
        text: What it does, for the help.
        takes: What the user may write, such as "int | auto", where that is not the field's type.
        metavar: What stands for the value in the help.
        positional: It is given without its name.
    """
    metadata = {"option": {"text": text, "metavar": metavar, "positional": positional}, "takes": takes}
    if default is ...:
        return field(metadata=metadata)
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def options_of(*kinds: type) -> dict[str, Option]:
    """Give the options that dataclasses declare, by name; their other fields are none."""
    found = {}
    for each in (each for kind in kinds for each in fields(kind) if "option" in each.metadata):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        required = default is MISSING
        found[each.name] = Option(
            each.name,
            read_types(each.metadata["takes"] or str(each.type)),
            default=None if required else default,
            required=required,
            **each.metadata["option"],
        )
    return found


def read_types(text: str) -> frozenset[str]:
    """Give the types in a text such as "int | list[int] | auto"; None among them is left out."""
    return frozenset(re.split(r"[|,]", text.replace(" ", ""))) - {"None", "optional"}


def hint(name: str, known: Collection[str], prefix: str = "") -> str:
    """Give the tail of a message about an unknown name: a hint, the nearest known name after `prefix`, or nothing."""
    if name in _HINTS:
        return f": {_HINTS[name]}"
    # A typing slip first, then an abbreviation (epo) or another program's longer name (batch_size).
    right = (
        nearest(name, known, cutoff=0.8)
        or next((other for other in known if other.startswith(name) or name.startswith(f"{other}_")), None)
        or nearest(name, known)
    )
    if not name or not right:
        return ""
    right = right.replace("_", "-") if prefix else right
    return f": did you mean {prefix}{right}?"
