"""Work on the files of trials, which only their own user may do: measured, set aside, removed.

A daemon of another user asks for it, in steps, because a disk may be slow and a study large. The daemon
decides what goes; this room must never do more than it was asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from tuned.disk import holdings, leftovers, removal
from tuned.disk.removal import Removed
from tuned.domain.retention import Holding, Part
from tuned.trial.launch import Premise, missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.disk.layout import Layout

T = TypeVar("T")

Work = Literal["measure", "set aside", "empty", "remove", "announce", "look"]

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chore(Generic[T]):
    """One piece of work, for whoever does it step by step."""

    work: Work
    #: The arguments, as JSON.
    of: Mapping[str, Any] = field(default_factory=dict)
    #: Makes a finding of JSON.
    understood: Callable[[Any], T]
    #: No other one of this process has it.
    number: int = field(default_factory=lambda: next(_numbers))


def measuring(folders: Mapping[str, str]) -> Chore[Holding]:
    """As ``holdings.measured``."""
    return Chore(work="measure", of={"folders": dict(folders)}, understood=_holding)


def setting_aside(part: Part, uid: str, folder: str, names: Sequence[str]) -> Chore[str]:
    """As ``removal.set_aside``."""
    of = {"part": part.value, "uid": uid, "folder": folder, "names": [*names]}
    return Chore(work="set aside", of=of, understood=str)


def emptying() -> Chore[Removed]:
    """As ``removal.emptied``."""
    return Chore(work="empty", understood=lambda found: Removed(**found))


def removing(name: str, uid: str) -> Chore[None]:
    """As ``leftovers.remove``."""
    return Chore(work="remove", of={"name": name, "uid": uid}, understood=_nothing)


def announcing(uid: str) -> Chore[None]:
    """As ``leftovers.announce``."""
    return Chore(work="announce", of={"uid": uid}, understood=_nothing)


def looking(premise: Premise) -> Chore[str]:
    """As ``launch.missing``; finds nothing if there is nothing missing."""
    return Chore(work="look", of=asdict(premise), understood=str)


class Chores:
    """The one who does them, here. Belongs to whatever thread takes a step; each chore to one at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        #: The newest of each kind that has not ended, and its number: nobody goes on with an older one.
        self._begun: dict[Work, tuple[int, Iterator[Any]]] = {}

    def step(self, number: int, work: Work, of: Mapping[str, Any]) -> tuple[list[Any], bool]:
        """Goes on with it for a moment. Returns what was found, as JSON, and whether it is done.

        Raises OSError, and then it is over.
        """
        begun, going_on = self._begun.pop(work, (None, iter(())))
        if begun != number:
            going_on = self._begin(work, of)
        found, is_done = holdings.step(going_on)
        if not is_done:
            self._begun[work] = number, going_on
        return found, is_done

    def _begin(self, work: Work, of: Mapping[str, Any]) -> Iterator[Any]:
        match work:
            case "measure":
                return map(_plain, holdings.measured(self._layout, of["folders"]))
            case "set aside":
                part, folder = Part(of["part"]), of["folder"]
                return removal.set_aside(self._layout, part, of["uid"], folder, of["names"])
            case "empty":
                return map(_plain, removal.emptied(self._layout))
            case "remove":
                leftovers.remove(self._layout, of["name"], of["uid"])
            case "announce":
                leftovers.announce(self._layout, of["uid"])
            case "look":
                return iter([found] if (found := missing(Premise(**of))) else ())
        return iter(())


def _plain(found: Holding | Removed | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _holding(found: Any) -> Holding:
    return Holding(**{**found, "part": Part(found["part"])})


def _nothing(_: object) -> None:
    pass
