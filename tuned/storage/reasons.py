"""The reason of an error in one line, for people.

An error may quote a database or a library, which say more than a person wants. This module must never raise.
"""

from __future__ import annotations

from tuned.config.toml import printable, shorten
from tuned.errors import TunedError

_LONGEST_REASON = 300


def reason_of(error: Exception) -> str:
    """The first line of an error; the type of one that is not ours comes before it."""
    # SQLAlchemy adds the statement to the error of the driver, and has that in ``orig``.
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    line = lines[0] if lines else ""
    if not isinstance(error, TunedError):
        line = f"{type(cause).__name__}: {line}"
    return shorten(printable(line), _LONGEST_REASON)
