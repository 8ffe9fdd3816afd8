"""The user attributes that a trial may give itself, and the length of its lines.

The daemon and trials in Python import this module, so it must never import anything heavy.
"""

from __future__ import annotations

#: The daemon cuts longer lines.
LINE_BYTES = 64 * 1024

#: The user attributes of Optuna that tuned itself sets on a trial.
RESERVED_ATTRIBUTES = frozenset({"HOST", "FAILURE", "RETRIED", "LATE_OF", "PRUNED", "REPLICATES"})

#: Optuna's column holds at most so many characters.
LONGEST_ATTRIBUTE_NAME = 512


def attribute_problem(name: object) -> str | None:
    """Why a trial may not give itself a user attribute of this name; None if it may."""
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= LONGEST_ATTRIBUTE_NAME:
        return f"found {_short(name)}, expected 1 to {LONGEST_ATTRIBUTE_NAME} printable characters"
    if name in RESERVED_ATTRIBUTES:
        ours = ", ".join(sorted(RESERVED_ATTRIBUTES))
        return f"found {name}, expected another name, because tuned itself writes {ours}"
    return None


def _short(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
