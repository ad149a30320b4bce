"""The least score of a detection: one for all classes, or others for some."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from moat_det.errors import UserError
from moat_det.evaluation.inspection.rule import THRESHOLD
from moat_det.messages import as_given, some

CONF = THRESHOLD
"""The least score of a detection, unless the user says another: what rejects a part is shown."""

_WAY_OUT = "give a score from 0 to 1, one for each class, or some by name, as in --conf 0.25 scratch=0.6"


@dataclass(frozen=True)
class Thresholds:
    """Least scores, in [0, 1].

    Attributes:
        common: Of every class that is not in `named`; several are those of the classes in their order.
        named: By the name of a class or, as text, its number.
    """

    common: tuple[float, ...] = (CONF,)
    named: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, value: Any) -> Thresholds:
        """Read what the user gave.

        Args:
            value: A number; a mapping of names or numbers of classes to numbers; or a sequence of numbers and of texts
                such as "0.25" and "scratch=0.6", which may stand in one text with commas between them.

        Raises:
            UserError: It is none of these, or a number is not from 0 to 1.
        """
        if value is None:
            return cls()
        common, named = [], {}
        for name, text in _parts(value):
            number = _number(value, text)
            if name is None:
                common.append(number)
            else:
                named[name] = number
        return cls(tuple(common) or (CONF,), named)

    @property
    def single(self) -> float | None:
        """The one score of all classes, where it is one."""
        return self.common[0] if len(self.common) == 1 and not self.named else None

    def of_classes(self, names: Mapping[int, str]) -> tuple[float, ...]:
        """Give the score of each class.

        Args:
            names: Class index -> name.

        Raises:
            UserError: There is no such class, or there are not as many classes as scores.
        """
        known = {**{str(index): index for index in names}, **{name: index for index, name in names.items()}}
        listed = some([str(name) for name in names.values()], 10)
        if len(self.common) not in {1, len(names)}:
            raise UserError(
                f"--conf: {len(self.common)} scores for the {len(names)} classes {listed}; give one, or one for each"
            )
        scores = list(self.common) * (len(names) // len(self.common))
        for name, score in self.named.items():
            if name not in known:
                raise UserError(f"--conf {name}={score:g}: the model has no class {name}; its classes are {listed}")
            scores[known[name]] = score
        return tuple(scores)


def _parts(value: Any) -> Iterator[tuple[str | None, Any]]:
    """Give names, None for all classes, and what should be numbers."""
    if isinstance(value, Mapping):
        yield from ((str(name), score) for name, score in value.items())
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _parts(part)
    elif isinstance(value, str):
        for part in value.split(","):
            name, equals, score = part.rpartition("=")
            yield (name.strip() if equals else None), score.strip()
    else:
        yield None, value


def _number(value: Any, score: Any) -> float:
    try:
        number = math.nan if isinstance(score, bool) else float(score)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise UserError(f"--conf {' '.join(value) if _is_words(value) else as_given(value)}: {_WAY_OUT}")
    return number


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
