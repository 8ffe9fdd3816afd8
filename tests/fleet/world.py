"""The explorer's view of a fleet at one moment: the tables, two hosts, and how much may still go wrong.

Everything is an immutable tuple, so that a state can be looked up. ``canonical`` gives states that behave
alike the same form: incarnations, claims and trials are renamed by order of appearance, a beat is its rank
among the beats that somebody remembers, times are ages, and a lost trial that nobody refers to is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

#: Causes of failures that are refunded: the trial counts for nothing.
REFUNDED = ("lost", "aborted")


class StudyRow(NamedTuple):
    state: str
    trials: int
    evaluations: int
    visited: int
    cursor: int


class HostLine(NamedTuple):
    host: int
    incarnation: str
    beat: int
    dead: bool


class PointRow(NamedTuple):
    x: int
    replica: int
    trial: int
    incarnation: str
    claim: str
    state: str
    losses: int


class TrialRow(NamedTuple):
    trial: int
    state: str
    x: int
    value: float | None
    #: Why it failed, if it did by itself, was lost or aborted.
    cause: str
    is_late: bool
    retried: int

    @property
    def is_counted(self) -> bool:
        """Whether it is one of those that the budget is for."""
        return self.cause not in REFUNDED and not self.is_late


class Tables(NamedTuple):
    study: StudyRow
    hosts: tuple[HostLine, ...]
    points: tuple[PointRow, ...]
    trials: tuple[TrialRow, ...]


class Drawn(NamedTuple):
    """A slot is about to claim: the point that it drew, or None for the next one of the walk."""

    x: int | None
    origin: str
    claim: str
    incarnation: str


class Granted(NamedTuple):
    """The database gave a point, and the slot does not know yet."""

    x: int
    trial: int
    incarnation: str


class Running(NamedTuple):
    """A slot evaluates."""

    x: int
    trial: int
    incarnation: str
    attempt: int = 1
    has_crashed: bool = False


Slot = Drawn | Granted | Running


class PendingResult(NamedTuple):
    """A finished evaluation in the outbox."""

    x: int
    trial: int
    has_value: bool
    attempt: int = 1


class Seen(NamedTuple):
    incarnation: str
    beat: int
    #: For how long the counter has stood there, in ticks.
    age: int


class Host(NamedTuple):
    """One host: its disk (the outbox, and whether the experiment's file is still active) and its process."""

    host: int
    #: down, telling, registering, settling, running; registering and settling also while it joins again.
    life: str = "down"
    is_frozen: bool = False
    is_away: bool = False
    #: Under which incarnation it claims and beats, and the one that it has registered but not yet taken on.
    claimant: str = ""
    newborn: str = ""
    #: resting, due; after a freeze in the middle of a beat: beaten, seen, marking.
    beat: str = "resting"
    rows: tuple[HostLine, ...] = ()
    look_age: int | None = None
    sightings: tuple[Seen, ...] = ()
    slot: Slot | None = None
    unknown: tuple[str, ...] = ()
    outbox: tuple[PendingResult, ...] = ()
    #: The trial of the outbox's first result had ended otherwise: its value is to be kept as one of its own.
    is_late: bool = False
    #: active, ending, over.
    search: str = "active"
    #: How many beats of the other have gone through since its own last one.
    missed: int = 0

    @property
    def is_up(self) -> bool:
        return self.life != "down"

    @property
    def moves(self) -> bool:
        return self.is_up and not self.is_frozen


class World(NamedTuple):
    tables: Tables
    hosts: tuple[Host, Host]
    #: How many more disturbances may come.
    disturbances: int
    #: Points of which an evaluation was finished with a value.
    finished: frozenset[int] = frozenset()


def canonical(world: World) -> tuple[World, bool]:
    """The form that all states share that behave alike; True if the two hosts changed places in it."""
    first, second = world.hosts
    is_swapped = _shape(second) < _shape(first)
    if is_swapped:
        first, second = second, first
    numbers = {first.host: 0, second.host: 1}
    tables = world.tables
    names = _Names(tables, (first, second), numbers)
    lines = sorted(tables.hosts, key=lambda line: numbers[line.host])
    kept = Tables(
        _canonical_study(tables.study),
        tuple(names.line(line) for line in lines),
        tuple(names.point(point) for point in tables.points),
        tuple(
            row._replace(trial=names.trials[row.trial]) for row in tables.trials if row.trial in names.trials
        ),
    )
    hosts = (names.local(first), names.local(second))
    return World(kept, hosts, world.disturbances, world.finished), is_swapped


def _canonical_study(study: StudyRow) -> StudyRow:
    """Nobody walks through a study that is done."""
    return study._replace(cursor=0) if study.state == "done" else study


def _shape(host: Host) -> tuple[object, ...]:
    slot = host.slot
    return (
        host.life, host.is_frozen, host.is_away, host.beat, type(slot).__name__,
        -1 if slot is None else slot.x or 0, host.is_late, host.search, host.unknown != (), len(host.outbox),
        host.missed, host.look_age or 0,
    )  # fmt: skip


class _Names:
    """The new names of everything in one state."""

    def __init__(self, tables: Tables, hosts: tuple[Host, Host], numbers: dict[int, int]) -> None:
        self._hosts = numbers
        self._incarnations: dict[str, str] = {"": ""}
        for line in sorted(tables.hosts, key=lambda line: numbers[line.host]):
            self._incarnation(line.incarnation)
        for host in hosts:
            for line in host.rows:
                self._incarnation(line.incarnation)
        self._visible = frozenset(self._incarnations)
        for incarnation in _incarnations(hosts):
            self._incarnation(incarnation)
        self._claims: dict[str, str] = {}
        for host in hosts:
            for claim in host.unknown:
                self._claim(claim)
            if isinstance(host.slot, Drawn):
                self._claim(host.slot.claim)
        self._beats = _beat_ranks(tables, hosts)
        self.trials = _kept_trials(tables, hosts)

    def _incarnation(self, name: str) -> str:
        return self._incarnations.setdefault(name, f"i{len(self._incarnations)}")

    def _claim(self, name: str) -> str:
        return self._claims.setdefault(name, f"c{len(self._claims)}")

    def line(self, line: HostLine) -> HostLine:
        return HostLine(
            self._hosts[line.host],
            self._incarnations[line.incarnation],
            self._beats[line.incarnation, line.beat],
            line.dead,
        )

    def point(self, point: PointRow) -> PointRow:
        is_held = point.state == "held"
        return point._replace(
            trial=self.trials[point.trial],
            incarnation=self._incarnation(point.incarnation) if is_held else "",
            claim=self._claim(point.claim) if is_held or point.claim in self._claims else "",
        )

    def local(self, host: Host) -> Host:
        return host._replace(
            host=self._hosts[host.host],
            claimant=self._incarnations[host.claimant],
            newborn=self._incarnations[host.newborn],
            rows=tuple(self.line(line) for line in host.rows),
            # Only what was seen before a gap is forgotten for it.
            look_age=host.look_age if host.sightings else None,
            # The next look forgets an incarnation that is no longer there.
            sightings=tuple(
                Seen(self._incarnations[seen.incarnation], self._beats[seen.incarnation, seen.beat], seen.age)
                for seen in host.sightings
                if seen.incarnation in self._visible
            ),
            slot=self._slot(host.slot),
            unknown=tuple(self._claims[claim] for claim in host.unknown),
            outbox=tuple(pending._replace(trial=self.trials[pending.trial]) for pending in host.outbox),
        )

    def _slot(self, slot: Slot | None) -> Slot | None:
        match slot:
            case None:
                return None
            case Drawn():
                return slot._replace(
                    claim=self._claims[slot.claim], incarnation=self._incarnations[slot.incarnation]
                )
            case _:
                return slot._replace(
                    trial=self.trials[slot.trial], incarnation=self._incarnations[slot.incarnation]
                )


def _incarnations(hosts: tuple[Host, Host]) -> Iterator[str]:
    for host in hosts:
        yield host.claimant
        yield host.newborn
        if host.slot is not None:
            yield host.slot.incarnation


def _beat_ranks(tables: Tables, hosts: tuple[Host, Host]) -> dict[tuple[str, int], int]:
    known: dict[str, set[int]] = {}
    for line in (*tables.hosts, *hosts[0].rows, *hosts[1].rows):
        known.setdefault(line.incarnation, set()).add(line.beat)
    for seen in (*hosts[0].sightings, *hosts[1].sightings):
        known.setdefault(seen.incarnation, set()).add(seen.beat)
    return {
        (incarnation, beat): rank
        for incarnation, beats in known.items()
        for rank, beat in enumerate(sorted(beats))
    }


def _kept_trials(tables: Tables, hosts: tuple[Host, Host]) -> dict[int, int]:
    referred = {point.trial for point in tables.points}
    for host in hosts:
        referred.update(pending.trial for pending in host.outbox)
        if isinstance(host.slot, Granted | Running):
            referred.add(host.slot.trial)
    kept = [row.trial for row in tables.trials if row.cause not in REFUNDED or row.trial in referred]
    return {trial: new for new, trial in enumerate(kept, 1)}
