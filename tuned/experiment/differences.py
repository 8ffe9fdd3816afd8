"""Compares the definitions of two hosts, as the JSON that the database keeps.

It owns the words of a difference. It must never decide which side is right, or change a definition.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tuned.config.toml import shorten


def differences(mine: str, theirs: str) -> list[str]:
    """The differences of two definitions, one line each; empty if they mean the same."""
    return list(_differences("", json.loads(mine), json.loads(theirs)))


def differ_in_budget_only(found: Sequence[str]) -> bool:
    return all(difference.startswith("budget.") for difference in found)


def explained(found: Sequence[str]) -> str:
    """Differences, and how a person can settle them."""
    text = "; ".join(found)
    if found and differ_in_budget_only(found):
        text += "; to change the budget for the whole fleet: tunectl submit --replace FILE"
    return text


def _differences(key: str, mine: object, theirs: object) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in [*mine, *(name for name in theirs if name not in mine)]:
            yield from _differences(f"{key}.{name}" if key else name, mine.get(name), theirs.get(name))
    # As text: 1 and true are equal in Python, and are not the same choice.
    elif (here := _shown(mine)) != (there := _shown(theirs)):
        yield f"{key}: {shorten(here)} here, {shorten(there)} in the database"


def _shown(value: object) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
