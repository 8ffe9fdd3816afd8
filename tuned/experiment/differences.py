"""Compares two forms of one experiment, as JSON: what differs, and what a person can do about it.

It owns the words of a difference. It must never decide which side is right, or show an environment variable,
because anyone may read these words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuned.config.toml import alternatives, shorten
from tuned.domain.snapshot import shown
from tuned.errors import printable
from tuned.experiment.file import File, Objective
from tuned.experiment.scope import Scope
from tuned.experiment.tables.code import Code

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENVIRONMENT = "objective.env."

#: Keys whose values may be secrets; the whole table if one side has none.
_SECRET = ("notify", "notify.url", "notify.command")

#: The key of a definition that names the snapshot of the code; no file has it.
SNAPSHOT = "code.snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key, by its dotted name, with its two values as JSON; "not set" if one side has none."""

    key: str
    mine: str
    theirs: str

    @property
    def scope(self) -> Scope:
        return scope_of(self.key)

    def __str__(self) -> str:
        if self.key.startswith(_ENVIRONMENT):
            return "objective.env: other variables here"
        if self.key == SNAPSHOT:
            return "code: other files here than in the database"
        if self.key in _SECRET:
            return f"{self.key}: another one here than in the database"
        there = "in the file that is active" if self.scope is Scope.HOST else "in the database"
        return f"{self.key}: {shorten(self.mine)} here, {shorten(self.theirs)} {there}"

    @property
    def as_change(self) -> str:
        """The words for it once ours is in force."""
        if self.key.startswith(_ENVIRONMENT):
            return "objective.env: other variables"
        if self.key == SNAPSHOT:
            return f"code: snapshot {_digest(self.mine)}, was {_digest(self.theirs)}"
        if self.key in _SECRET:
            return f"{self.key}: another one"
        return f"{self.key}: {shorten(self.mine)}, was {shorten(self.theirs)}"

    def with_files(self, files: str, text: str) -> str:
        """The words, with the files that differ if it is the code and they are known."""
        return f"{text} ({files})" if files and self.key == SNAPSHOT else text


def scope_of(key: str) -> Scope:
    """The scope of a dotted key of the file, such as ``objective.command`` or ``space.lr.low``.

    A key that this version does not know, or text that is no table, makes another search.
    """
    table, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    field = File.model_fields.get(table)
    if table == "objective":
        field = Objective.model_fields.get(name)
    elif table == "code":
        field = Code.model_fields.get(name, field)
    if field is None or (table, name) == ("pruner", "objective"):
        # The curves of earlier trials are of another objective.
        return Scope.SEARCH
    return next(each for each in field.metadata if isinstance(each, Scope))


def differences(mine: str, theirs: str) -> list[Difference]:
    """The differences of two definitions, or of the local keys of two files; empty if they mean the same."""
    return list(_differences("", json.loads(mine), json.loads(theirs)))


def are_replaceable(found: Sequence[Difference]) -> bool:
    """Whether ``tunectl submit --replace`` takes all of them."""
    return all(each.scope is not Scope.SEARCH for each in found)


def explained(found: Sequence[Difference], name: str, files: str = "") -> str:
    """Differences of an experiment, and how a person can settle them; ``files`` are those of its code."""
    text = "; ".join(dict.fromkeys(each.with_files(files, str(each)) for each in found))
    if are_replaceable(found):
        option = " --code" if any(each.key == SNAPSHOT for each in found) else ""
        return f"{text}; for the trials that start from now on: tunectl submit --replace{option} FILE"
    tables = {each.key.partition(".")[0]: None for each in found if each.scope is Scope.SEARCH}
    return f"{text}; with {alternatives(tables, 'or')} changed it is another search: {ways_out(name)}"


def ways_out(name: str) -> str:
    """The ways to run another search than the one that is there under this name."""
    return (
        "give it another name, or delete the one that is there "
        f"(tunectl delete {name}; tunectl submit --fresh FILE does both)"
    )


def replaced(theirs: str, mine: str) -> str:
    """Their definition with all that may be replaced from mine; the order of their parameters stays."""
    document, other = json.loads(theirs), json.loads(mine)
    taken = {key: value for key, value in other.items() if key == "objective" or _is_of_fleet(key)}
    return json.dumps({**document, **taken}, separators=(",", ":"), ensure_ascii=False)


def _is_of_fleet(key: str) -> bool:
    return scope_of(key) is Scope.FLEET


def _differences(key: str, mine: object, theirs: object) -> Iterator[Difference]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in [*mine, *(name for name in theirs if name not in mine)]:
            yield from _differences(f"{key}.{name}" if key else name, mine.get(name), theirs.get(name))
    # As text: 1 and true are equal in Python, and are not the same choice.
    elif (here := _shown(mine)) != (there := _shown(theirs)):
        yield Difference(key=key, mine=here, theirs=there)
        if key == "pruner":
            # Without a rule, trials have kept the values of the first objective.
            yield from _differences("pruner.objective", _watched(mine), _watched(theirs))


def _digest(text: str) -> str:
    digest = json.loads(text) if text.startswith('"') else ""
    return shown(digest) if digest else "none"


def _watched(pruner: object) -> object:
    return pruner.get("objective") if isinstance(pruner, dict) else 0


def _shown(value: object) -> str:
    return "not set" if value is None else printable(json.dumps(value, ensure_ascii=False))
