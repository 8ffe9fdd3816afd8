"""Work on the files of trials and on their code, which only their own user may do.

A daemon of another user asks for it, in steps, because a disk may be slow and a study large. The daemon
decides what goes; this room must never do more than it was asked for.
"""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from tuned.disk import holdings, leftovers, removal
from tuned.disk.code import trees
from tuned.disk.code.archive import Damaged
from tuned.disk.code.trees import Tree
from tuned.disk.removal import Removed
from tuned.domain.retention import Holding, Part
from tuned.keeper import cards
from tuned.keeper.cards import Sight
from tuned.trial.launch import Premise, missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tuned.disk.layout import Layout

T = TypeVar("T")

WorkOnCode = Literal["code clear", "code verify", "code receive", "code unpack", "code finish", "code tidy"]

Work = Literal["measure", "set aside", "empty", "remove", "announce", "look", "see cards"] | WorkOnCode

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


def seeing_cards(installation_id: str) -> Chore[Sight]:
    """As ``cards.look``; by the one who may open their devices."""
    return Chore(work="see cards", of={"installation": installation_id}, understood=Sight.of)


def clearing_code() -> Chore[None]:
    """As ``trees.remove_unfinished``."""
    return Chore(work="code clear", understood=_nothing)


def verifying_code(tree: Tree, digest: str) -> Chore[bool]:
    """As ``trees.is_whole``; one that is whole is used now."""
    return Chore(work="code verify", of={"tree": tree.path.name, "digest": digest}, understood=bool)


def receiving_code(tree: Tree, part: int, content: bytes) -> Chore[None]:
    """As ``trees.receive``."""
    of = {"tree": tree.path.name, "part": part, "content": base64.b64encode(content).decode()}
    return Chore(work="code receive", of=of, understood=_nothing)


def unpacking_code(tree: Tree, digest: str, limit: int) -> Chore[Damaged]:
    """As ``trees.unpack``; finds the damage if there is one."""
    of = {"tree": tree.path.name, "digest": digest, "limit": limit}
    return Chore(work="code unpack", of=of, understood=Damaged)


def finishing_code(tree: Tree) -> Chore[None]:
    """As ``trees.finish``."""
    return Chore(work="code finish", of={"tree": tree.path.name}, understood=_nothing)


def tidying_code(used: Iterable[Tree], seconds: float) -> Chore[list[str]]:
    """As ``trees.remove_unused``; those that are used are used now."""
    of = {"used": [tree.path.name for tree in used], "seconds": seconds}
    return Chore(work="code tidy", of=of, understood=list)


class Chores:
    """The one who does them, here. Belongs to whatever thread takes a step; each chore to one at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        #: The newest of each kind that has not ended, and its number: nobody goes on with an older one.
        self._begun: dict[Work, tuple[int, Iterator[Any]]] = {}
        self._code = _Code(layout.code)

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
            case "look" | "see cards":
                return iter(_seen(work, of))
            case _:
                return iter(self._code.carry_out(work, of))
        return iter(())


def _seen(work: Literal["look", "see cards"], of: Mapping[str, Any]) -> list[Any]:
    if work == "see cards":
        return [cards.look(of["installation"])]
    problem = missing(Premise(**of))
    return [problem] if problem else []


class _Code:
    """Works on the code of trials, one piece of it at a time: a daemon that died may have left one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turn = threading.Lock()

    def carry_out(self, work: WorkOnCode, of: Mapping[str, Any]) -> list[Any]:
        """Returns what was found, as JSON. Raises OSError."""
        with self._turn:
            match work:
                case "code clear":
                    trees.remove_unfinished(self._directory)
                case "code tidy":
                    for name in of["used"]:
                        trees.touch(self._tree(name))
                    return [trees.remove_unused(self._directory, of["used"], of["seconds"])]
                case _:
                    return self._prepare(work, self._tree(of["tree"]), of)
            return []

    def _prepare(self, work: WorkOnCode, tree: Tree, of: Mapping[str, Any]) -> list[Any]:
        match work:
            case "code verify":
                if is_whole := trees.is_whole(tree, of["digest"]):
                    trees.touch(tree)
                return [is_whole]
            case "code receive":
                trees.receive(tree, of["part"], base64.b64decode(of["content"]))
            case "code unpack":
                try:
                    trees.unpack(tree, of["digest"], limit=of["limit"])
                except Damaged as damage:
                    return [str(damage)]
            case "code finish":
                trees.finish(tree)
        return []

    def _tree(self, name: str) -> Tree:
        return Tree(path=self._directory / name)


def _plain(found: Holding | Removed | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _holding(found: Any) -> Holding:
    return Holding(**{**found, "part": Part(found["part"])})


def _nothing(_: object) -> None:
    pass
