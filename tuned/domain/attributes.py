"""The user attributes that a trial may give itself, and the length of its lines.

The daemon and trials in Python share them, so nothing heavy may be imported here.
"""

from __future__ import annotations

#: Longer lines are cut.
LINE_BYTES = 64 * 1024

#: The user attributes, in Optuna's sense, that tuned itself gives to a trial.
RESERVED_ATTRIBUTES = frozenset({"HOST", "FAILURE", "RETRIED", "LATE_OF"})

#: Optuna's tables hold so many characters.
LONGEST_ATTRIBUTE_NAME = 512


def attribute_problem(name: object) -> str | None:
    """Why a trial may not give itself a user attribute of this name; None if it may."""
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= LONGEST_ATTRIBUTE_NAME:
        return f"found {_short(name)}, expected 1 to {LONGEST_ATTRIBUTE_NAME} printable characters"
    if name in RESERVED_ATTRIBUTES:
        ours = ", ".join(sorted(RESERVED_ATTRIBUTES))
        return f"found {name}, expected another name, for tuned itself writes {ours}"
    return None


def _short(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
