"""The explorer's view of a fleet at one moment: the tables, two hosts, and how much may still go wrong.

Everything is an immutable tuple, so that a state can be looked up. ``canonical`` gives states that behave
alike the same form: incarnations, claims and trials are renamed by order of appearance, a beat is its rank
among the beats that somebody remembers, times are ages, and a lost trial that nobody refers to is forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

#: Causes of failures that are refunded: the trial counts for nothing.
REFUNDED = ("lost", "aborted")


class StudyRow(NamedTuple):
    state: str
    trials: int
    evaluations: int
    visited: int
    cursor: int
    #: Something has ended the search.
    has_ended: bool
    #: The values to be bettered, and the evaluations that did not. The trial that gave them is only told.
    front: str
    stalled: int


class HostLine(NamedTuple):
    host: int
    incarnation: str
    beat: int
    dead: bool
    #: The number of the newest record of its outbox that was told.
    told: int = 0


class PointRow(NamedTuple):
    x: int
    replica: int
    trial: int
    incarnation: str
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
    #: Empty if no host refers to it.
    claim: str
    #: False for a crash before the first value.
    is_charged: bool
    #: How many evaluations it was charged with, while it runs; else 1.
    charged: int
    #: If hosts may be sick: its host, its place among those that have ended, and, of a crash, how many had
    #: ended well before. Else nobody asks.
    host: int = -1
    ended: int = 0
    went_well: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether it is one of those that the budget is for."""
        return self.is_charged and self.cause not in REFUNDED and not self.is_late

    @property
    def is_evaluated(self) -> bool:
        """Whether it ended by itself, which may have bettered the best value."""
        return self.state != "RUNNING" and self.is_charged and self.cause not in REFUNDED


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
    claim: str
    incarnation: str


class Running(NamedTuple):
    """A slot evaluates."""

    x: int
    claim: str
    incarnation: str
    attempt: int = 1
    has_crashed: bool = False
    #: How the keeper says that it ended, before its daemon has heard of it: value, failure or pruned.
    ending: str = ""
    #: Its host has come back as the database still said that it runs there.
    is_in_time: bool = False

    @property
    def has_ended(self) -> bool:
        return self.ending != ""

    @property
    def ended(self) -> int:
        """How many evaluations have ended by themselves, as far as its daemon has heard."""
        return self.attempt if self.has_crashed else self.attempt - 1


class Lost(NamedTuple):
    """The keeper died with the run of a slot, which is about to give its point back."""

    x: int
    claim: str
    incarnation: str = ""


Slot = Drawn | Granted | Running | Lost


class PendingResult(NamedTuple):
    """A finished evaluation in the outbox."""

    x: int
    claim: str
    has_value: bool
    attempt: int = 1
    #: Of its record; 0 if the database forgets nothing.
    number: int = 0
    is_pruned: bool = False


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
    #: Runs that its keeper has, and no slot.
    left: tuple[Running, ...] = ()
    unknown: tuple[str, ...] = ()
    outbox: tuple[PendingResult, ...] = ()
    #: Told results, oldest first, as long as the database may forget them.
    kept: tuple[PendingResult, ...] = ()
    #: The trial of the outbox's first result had ended otherwise: its value is to be kept as one of its own.
    is_late: bool = False
    #: active, ending, over.
    search: str = "active"
    #: The trial that it killed when it saw the end: its claim, and how many evaluations had ended.
    killed: tuple[tuple[str, int], ...] = ()
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
    #: How many more disturbances may come, or which, one after the other.
    disturbances: int | tuple[str, ...]
    #: Points of which an evaluation was finished with a value.
    finished: frozenset[int] = frozenset()
    #: The tables before the last step that changed them, if the database may still forget that step.
    past: Tables | None = None


def canonical(world: World) -> tuple[World, bool]:
    """The form that all states share that behave alike; True if the two hosts changed places in it."""
    first, second = world.hosts
    is_swapped = _shape(second) < _shape(first)
    if is_swapped:
        first, second = second, first
    numbers = {first.host: 0, second.host: 1}
    moments = (world.tables,) if world.past is None else (world.tables, world.past)
    names = _Names(moments, (first, second), numbers)
    tables, *past = (names.tables(each) for each in moments)
    hosts = (names.local(first), names.local(second))
    return World(tables, hosts, world.disturbances, world.finished, past[0] if past else None), is_swapped


def _canonical_study(study: StudyRow) -> StudyRow:
    """Nobody walks through a study that is done."""
    return study._replace(cursor=0) if study.state == "done" else study


def _shape(host: Host) -> tuple[object, ...]:
    slot = host.slot
    return (
        host.life, host.is_frozen, host.is_away, host.beat, type(slot).__name__,
        -1 if slot is None else slot.x or 0, host.is_late, host.search, host.unknown != (), len(host.outbox),
        host.missed, host.look_age or 0, [(run.x, run.ending) for run in host.left],
    )  # fmt: skip


class _Names:
    """The new names of everything in one state."""

    def __init__(self, moments: Sequence[Tables], hosts: tuple[Host, Host], numbers: dict[int, int]) -> None:
        self._hosts = numbers
        self._incarnations: dict[str, str] = {"": ""}
        for line in (line for tables in moments for line in self._lines(tables)):
            self._incarnation(line.incarnation)
        for host in hosts:
            for line in host.rows:
                self._incarnation(line.incarnation)
        self._visible = frozenset(self._incarnations)
        for incarnation in _incarnations(hosts):
            self._incarnation(incarnation)
        self._claims: dict[str, str] = {}
        for claim in _claims(hosts):
            self._claims.setdefault(claim, f"c{len(self._claims)}")
        self._beats = _beat_ranks(moments, hosts)
        self._records = {host.host: _record_ranks(moments, host) for host in hosts}

    def tables(self, tables: Tables) -> Tables:
        trials = _kept_trials(tables, self._claims)
        ends = sorted({row.ended for row in tables.trials if row.trial in trials} | {0})
        return Tables(
            _canonical_study(tables.study),
            tuple(self.line(line) for line in self._lines(tables)),
            tuple(self._point(point, trials) for point in tables.points),
            tuple(self._trial(row, trials, ends) for row in tables.trials if row.trial in trials),
        )

    def _lines(self, tables: Tables) -> list[HostLine]:
        return sorted(tables.hosts, key=lambda line: self._hosts[line.host])

    def _incarnation(self, name: str) -> str:
        return self._incarnations.setdefault(name, f"i{len(self._incarnations)}")

    def line(self, line: HostLine) -> HostLine:
        return HostLine(
            self._hosts[line.host],
            self._incarnations[line.incarnation],
            self._beats[line.incarnation, line.beat],
            line.dead,
            self._records[line.host][line.told],
        )

    def _point(self, point: PointRow, trials: Mapping[int, int]) -> PointRow:
        is_held = point.state == "held"
        return point._replace(
            trial=trials[point.trial],
            incarnation=self._incarnation(point.incarnation) if is_held else "",
        )

    def _trial(self, row: TrialRow, trials: Mapping[int, int], ends: Sequence[int]) -> TrialRow:
        host = self._hosts.get(row.host, row.host)
        claim, place = self._claims.get(row.claim, ""), ends.index(row.ended)
        return row._replace(trial=trials[row.trial], claim=claim, host=host, ended=place)

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
            left=tuple(self._run(run) for run in host.left),
            unknown=tuple(self._claims[claim] for claim in host.unknown),
            killed=tuple((self._claims[claim], ended) for claim, ended in host.killed),
            outbox=tuple(self._pending(host, pending) for pending in host.outbox),
            kept=tuple(self._pending(host, pending) for pending in host.kept),
        )

    def _pending(self, host: Host, pending: PendingResult) -> PendingResult:
        number = self._records[host.host][pending.number] if pending.number else 0
        return pending._replace(claim=self._claims[pending.claim], number=number)

    def _run(self, run: Running) -> Running:
        return run._replace(claim=self._claims[run.claim], incarnation=self._incarnations[run.incarnation])

    def _slot(self, slot: Slot | None) -> Slot | None:
        if slot is None:
            return None
        return slot._replace(claim=self._claims[slot.claim], incarnation=self._incarnations[slot.incarnation])


def _incarnations(hosts: tuple[Host, Host]) -> Iterator[str]:
    for host in hosts:
        yield host.claimant
        yield host.newborn
        if host.slot is not None:
            yield host.slot.incarnation
        yield from (run.incarnation for run in host.left)


def _claims(hosts: tuple[Host, Host]) -> Iterator[str]:
    """All that a host refers to."""
    for host in hosts:
        yield from host.unknown
        yield from (claim for claim, _ in host.killed)
        if host.slot is not None:
            yield host.slot.claim
        yield from (run.claim for run in host.left)
        yield from (pending.claim for pending in (*host.outbox, *host.kept))


def _record_ranks(moments: Sequence[Tables], host: Host) -> dict[int, int]:
    told = {line.told for tables in moments for line in tables.hosts if line.host == host.host}
    numbers = told | {pending.number for pending in (*host.outbox, *host.kept)} | {0}
    return {number: rank for rank, number in enumerate(sorted(numbers))}


def _beat_ranks(moments: Sequence[Tables], hosts: tuple[Host, Host]) -> dict[tuple[str, int], int]:
    known: dict[str, set[int]] = {}
    lines = [line for tables in moments for line in tables.hosts]
    for line in (*lines, *hosts[0].rows, *hosts[1].rows):
        known.setdefault(line.incarnation, set()).add(line.beat)
    for seen in (*hosts[0].sightings, *hosts[1].sightings):
        known.setdefault(seen.incarnation, set()).add(seen.beat)
    return {
        (incarnation, beat): rank
        for incarnation, beats in known.items()
        for rank, beat in enumerate(sorted(beats))
    }


def _kept_trials(tables: Tables, claims: Collection[str]) -> dict[int, int]:
    """New numbers of the trials, but for those that are settled, and that no point and no host refers to."""
    referred = {point.trial for point in tables.points}
    kept = [
        row.trial
        for row in tables.trials
        if row.cause not in (*REFUNDED, "host") or row.trial in referred or row.claim in claims
    ]
    return {trial: new for new, trial in enumerate(kept, 1)}
