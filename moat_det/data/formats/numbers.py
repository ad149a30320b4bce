"""Numbers in the texts of annotations."""

from __future__ import annotations


def read_number(text: str) -> float:
    """Give the number that a text is.

    Raises:
        ValueError: It is none, or one to Python alone, as `1_0` and digits of other scripts are.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"could not convert string to float: {text!r}")
    return float(text)
