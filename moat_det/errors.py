"""The one error a user sees: a single line that names the thing at fault and the way out."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend.

    The command line prints the message as one line and ends with exit code 2; the Python API raises it.
    The message names the file or the value at fault and says what to do about it.
    """
