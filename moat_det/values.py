"""What a value that a user gave is, whatever type Python reads it as."""

from __future__ import annotations

import sys


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value, which Python takes for one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_count(value: object, least: int = 1) -> bool:
    """Whether a value is a whole number, of `least` or more, and no truth value."""
    return type(value) is int and value >= least
