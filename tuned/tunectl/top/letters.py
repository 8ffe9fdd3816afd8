"""Letters for a terminal: which ones it can show, and which ones replace the others.

A letter is replaced by others that are as wide, so that columns stay columns. It knows nothing of tuned.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import wcwidth

if TYPE_CHECKING:
    from collections.abc import Mapping

#: For our own letters.
_PLAIN = {"●": "*", "█": "#", "░": ".", "–": "-", "…": "~", "✗": "x", "·": "."}

_UNKNOWN = "?"

_ASCII_LOCALES = frozenset({"C", "POSIX"})

#: Python sets it in the environment if it finds the C locale: it says nothing of the terminal.
_COERCED = "C.UTF-8"


def is_ascii(encoding: str | None, environ: Mapping[str, str]) -> bool:
    """Whether a terminal gets only ASCII, because of the stream's encoding or of a locale that is set."""
    if codecs.lookup(encoding or "ascii").name != "utf-8":
        return True
    category = environ.get("LC_CTYPE")
    chosen = (environ.get("LC_ALL"), None if category == _COERCED else category, environ.get("LANG"))
    return next(filter(None, chosen), "") in _ASCII_LOCALES


def plain(text: str) -> str:
    """ASCII in the place of all else."""
    return text if text.isascii() else "".join(map(_plain_letter, text))


def _plain_letter(letter: str) -> str:
    if letter.isascii():
        return letter
    return _PLAIN.get(letter) or _UNKNOWN * max(0, wcwidth.wcwidth(letter))
