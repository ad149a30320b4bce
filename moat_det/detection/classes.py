"""The classes that are looked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from moat_det.errors import UserError
from moat_det.messages import one_line


def check_classes(classes: Collection[int] | None, names: Mapping[int, str]) -> None:
    """Check that a model or a dataset has the classes that are asked for.

    Raises:
        UserError: It has not.
    """
    absent = [number for number in classes or () if number not in names]
    if absent:
        given = one_line(" ".join(map(str, absent)))
        raise UserError(f"--classes {given}: there is no such class; there are 0 to {len(names) - 1}")
