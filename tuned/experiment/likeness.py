"""Compares a file's content with an experiment that is there.

It owns no words of its own: ``differences`` has them. It must never read a file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tuned.errors import InvalidInput
from tuned.experiment.differences import Difference, are_replaceable, differences, explained
from tuned.experiment.experiment import Experiment, parse

if TYPE_CHECKING:
    from collections.abc import Mapping


def explain(active: Mapping[str, Experiment], name: str, content: bytes, is_override: bool = False) -> str:
    """The differences between a file and the experiment that is active under its name, and the way on.

    If it overrides a file that another host gave, its local keys may differ.
    """
    try:
        mine = parse(content, f"{name}.toml")
    except InvalidInput as error:
        return str(error)
    there = active.get(name, mine)
    # Nobody has looked at its code yet.
    mine = mine.with_snapshot(there.snapshot)
    found = differences(mine.definition(), there.definition())
    if is_override:
        told = explained(found, mine.name)
        return f"cannot run study {mine.name}: it exists with another definition: {told}" if found else ""
    found += differences(mine.local(), there.local())
    return explained(found, mine.name) if found else ""


def local_differences(experiment: Experiment, before: bytes | None, file: str) -> list[Difference]:
    """The local keys that differ from an earlier file's; none if there is no such file."""
    if before is None:
        return []
    try:
        earlier = parse(before, file)
    except InvalidInput:
        return []
    return differences(experiment.local(), earlier.local())


def defines(content: bytes, file: str, definition: str) -> bool:
    """Whether a file is one of this definition, but for keys that may have been replaced since."""
    try:
        found = differences(parse(content, file).definition(), definition)
    except (InvalidInput, ValueError):
        return False
    return are_replaceable(found)


def name_in(definition: str) -> str | None:
    """The name of the experiment in a definition; None if it cannot be read."""
    try:
        name: str = json.loads(definition)["name"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return name


def snapshot_in(definition: str) -> str:
    """The digest of the snapshot in a definition; empty if it has none."""
    code = json.loads(definition).get("code") or {}
    return str(code.get("snapshot", ""))


def priority_in(definition: str) -> int:
    """The priority in a definition; 0 if it has none."""
    fleet = json.loads(definition).get("fleet") or {}
    return int(fleet.get("priority", 0))
