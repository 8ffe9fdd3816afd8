"""Explores every state that a fleet of two hosts can reach, breadth first, and checks each of them.

A violation that is found first is reached by the fewest steps: its story is the shortest. In the end every
state must have a way, without another disturbance, to one in which the study is done and all is told: so no
fair order of steps keeps a trial RUNNING for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.factories import _prepare
from tests.fleet.beats import fresh, quieted
from tests.fleet.keeping import is_dead, without_killed
from tests.fleet.program import Program, is_end, remember
from tests.fleet.steps import Rules, Step
from tests.fleet.store import SteppedDatabase, Store, Violation
from tests.fleet.world import REFUNDED, Host, Running, World, canonical
from tuned.experiment.experiment import Experiment


@dataclass(frozen=True, slots=True)
class Origin:
    """How a state was reached first."""

    before: int
    step: tuple[int | None, str]
    #: The two hosts changed places in the canonical form.
    is_swapped: bool


@dataclass(slots=True)
class Explored:
    """All states, by number."""

    worlds: list[World] = field(default_factory=list)
    origins: list[Origin | None] = field(default_factory=list)
    #: For each state, those from which it is reached without a disturbance.
    calm_before: list[list[int]] = field(default_factory=list)
    steps: int = 0
    transactions: int = 0

    def add(self, world: World, origin: Origin | None) -> int:
        self.worlds.append(world)
        self.origins.append(origin)
        self.calm_before.append([])
        return len(self.worlds) - 1

    def story(self, number: int, *last: tuple[int | None, str]) -> str:
        """How a state comes about, in words, and what follows it."""
        origins = []
        while (origin := self.origins[number]) is not None:
            origins.append(origin)
            number = origin.before
        lines, is_swapped = [], False
        for origin in reversed(origins):
            lines.append(_line(*origin.step, is_swapped=is_swapped))
            is_swapped ^= origin.is_swapped
        lines += [_line(*step, is_swapped=is_swapped) for step in last]
        return "\n".join(f"{n:3}. {line}" for n, line in enumerate(lines, 1))

    def __str__(self) -> str:
        return f"{len(self.worlds)} states, {self.steps} steps, {self.transactions} transactions"


def explore(store: Store, rules: Rules) -> Explored:
    """Raises Violation, with the story of how it comes about.

    Another exploration may go on with the store, unless rules have been taken out meanwhile.
    """
    explored = Explored()
    _search(explored, store, Program(store, rules), rules)
    stuck = _stuck(explored)
    if stuck is not None:
        raise Violation(f"from here nothing leads to an end:\n{explored.story(stuck)}\n({explored})")
    return explored


@contextmanager
def stored(experiment: Experiment) -> Iterator[Store]:
    database = SteppedDatabase("sqlite://")
    try:
        # Rows are set from outside to any state before each transaction.
        _prepare(database, is_guarded=False)
        yield Store(database, experiment)
    finally:
        database.close()


def _search(explored: Explored, store: Store, program: Program, rules: Rules) -> None:
    known = store.transactions
    first = canonical(_beginning(store, rules))[0]
    numbers = {first: explored.add(first, None)}
    queue = deque([0])
    while queue:
        now = queue.popleft()
        for step in _steps(explored, program, now):
            explored.steps += 1
            explored.transactions = store.transactions - known
            if step.world == explored.worlds[now]:
                continue
            after = remember(explored.worlds[now], step.world, rules)
            world, is_swapped = canonical(quieted(without_killed(explored.worlds[now], after)))
            number = numbers.get(world)
            if number is None:
                if wrong := _wrong(world, store, rules):
                    story = explored.story(now, (step.host, step.what))
                    raise Violation(f"{wrong}:\n{story}\n({explored})")
                number = explored.add(world, Origin(now, (step.host, step.what), is_swapped))
                numbers[world] = number
                queue.append(number)
            if not step.is_disturbance and number != now:
                explored.calm_before[number].append(now)


def _beginning(store: Store, rules: Rules) -> World:
    """Both hosts have joined and seen each other."""
    first = store.register(store.empty, 0)
    second = store.register(first.tables, 1)
    one, other = (
        Host(host, "running", claimant=born.value.incarnation) for host, born in enumerate((first, second))
    )
    return World(second.tables, (fresh(one, other), fresh(other, one)), rules.to_come)


def _steps(explored: Explored, program: Program, now: int) -> Iterator[Step]:
    try:
        yield from program.steps(explored.worlds[now])
    except Violation as violation:
        raise Violation(f"{violation}:\n{explored.story(now, *violation.last)}\n({explored})") from None


def _wrong(world: World, store: Store, rules: Rules) -> str | None:
    """The first broken promise of a state, in words; None if all are kept."""
    return (
        _overlap(world, rules)
        or _lost_in_time(world, rules)
        or _lost_value(world)
        or _overrun(world, store)
        or _killed(world, rules)
        or _wrongly_ended(world, store)
        or _wrongly_charged(world, rules)
        or _bad_end(world, store)
        or _kept_by_sick(world, rules)
    )


def _overlap(world: World, rules: Rules) -> str | None:
    """Two evaluate a point, and none of them is dead to the fleet without knowing it."""
    living = {line.incarnation for line in world.tables.hosts if not line.dead}
    claims = {row.claim for row in world.tables.trials if row.state == "RUNNING"}
    excused, points = set(), []
    for host in world.hosts:
        evaluated = [run for run in (host.slot, *host.left) if isinstance(run, Running) and not run.has_ended]
        points.append({run.x for run in evaluated})
        for run in evaluated:
            # Nobody looks at the runs of a daemon that is gone before the next one has joined.
            knows = run == host.slot and (host.claimant != run.incarnation or host.life != "running")
            # If the database has forgotten it, nobody can know.
            is_forgotten = "forget" in rules.kinds and run.claim not in claims
            if is_forgotten or (run.incarnation not in living and not knows):
                excused.add(run.x)
    both = (points[0] & points[1]) - excused
    return f"both hosts evaluate point {min(both)}" if both else None


def _lost_in_time(world: World, rules: Rules) -> str | None:
    """A run is given up, though it goes on and its host came back before it was taken for dead."""
    lost = {row.claim for row in world.tables.trials if row.cause in REFUNDED}
    for host in world.hosts:
        runs = [run for run in (host.slot, *host.left) if isinstance(run, Running)]
        given_up = [run.x for run in runs if run.is_in_time and run.claim in lost]
        if given_up and not is_dead(world.tables, host) and "forget" not in rules.kinds:
            return f"the run of point {given_up[0]} is given up, though its host came back in time"
    return None


def _lost_value(world: World) -> str | None:
    kept = {row.x for row in world.tables.trials if row.value is not None}
    for host in world.hosts:
        runs = [run for run in (host.slot, *host.left) if isinstance(run, Running)]
        kept.update(run.x for run in runs if run.ending == "value")
    kept.update(p.x for host in world.hosts for p in (*host.outbox, *host.kept) if p.has_value)
    lost = world.finished - kept
    return f"the value of point {min(lost)} is lost" if lost else None


def _overrun(world: World, store: Store) -> str | None:
    study, budget = world.tables.study, store.budget
    attempts = {row.claim or f"{row.trial}": row.retried + 1 for row in world.tables.trials if row.is_counted}
    for host in world.hosts:
        underway = [pending for pending in host.outbox if pending.claim in attempts]
        attempts.update({pending.claim: pending.attempt for pending in underway})
        runs = [run for run in (host.slot, *host.left) if isinstance(run, Running)]
        attempts.update({run.claim: run.attempt for run in runs if run.claim in attempts})
    if budget.trials is not None and max(study.trials, len(attempts)) > budget.trials:
        return f"{len(attempts)} trials, {study.trials} charged, of {budget.trials}"
    # A duplicate that was skipped or reused is a trial without an evaluation.
    evaluated = sum(attempts.values())
    if budget.evaluations is not None and max(study.evaluations, evaluated) > budget.evaluations:
        return f"{evaluated} evaluations, {study.evaluations} charged, of {budget.evaluations}"
    return None


def _killed(world: World, rules: Rules) -> str | None:
    """A host that lives was taken for dead, though the other had not missed it for long."""
    dead = {line.incarnation for line in world.tables.hosts if line.dead}
    for host in world.hosts:
        if host.life == "running" and host.claimant in dead and host.missed < rules.expire:
            return f"a host that lives and has missed {host.missed} beats was taken for dead"
    return None


def _wrongly_ended(world: World, store: Store) -> str | None:
    """The target is reached and the search goes on, or a result was counted twice."""
    study, has_reached = world.tables.study, _has_reached(world, store)
    if has_reached and not study.has_ended:
        return "a trial has reached the target, and the search goes on"
    counted = sum(row.is_evaluated for row in world.tables.trials)
    if study.stalled + (study.front != "") > counted:
        return f"{study.stalled} of {counted} evaluations were not better"
    if study.has_ended and study.state != "done" and not has_reached and not _is_stalled(world, store):
        return "the search ends, and nothing has ended it"
    return None


def _wrongly_charged(world: World, rules: Rules) -> str | None:
    """A crash that was given back is refunded twice or not, or its point is not free."""
    if not rules.has_sick:
        return None
    study, tables = world.tables.study, world.tables
    counted = sum(row.is_counted or row.is_late for row in tables.trials)
    visited = sum(p.state in ("done", "failed", "pruned") for p in tables.points if not p.replica)
    if (study.trials, study.visited) == (counted, visited):
        return None
    return f"{study.trials} trials are charged of {counted}, {study.visited} points visited of {visited}"


def _kept_by_sick(world: World, rules: Rules) -> str | None:
    """The study is done, and a host's crash is charged that came before the other one did well."""
    if not rules.has_sick or not is_end(world):
        return None
    rows = [row for row in world.tables.trials if row.ended]
    for crash in rows:
        later = [row for row in rows if row.ended > crash.ended]
        is_broken = any(row.host == crash.host and row.went_well is None for row in later)
        # A value that comes after the end opens nothing again.
        good = [row for row in later if row.state in ("COMPLETE", "PRUNED") and not row.is_late]
        goes_well = any(row.host != crash.host for row in good)
        if crash.went_well is not None and crash.cause != "host" and goes_well and not is_broken:
            return f"the crash of point {crash.x} on a sick host was not given back"
    return None


def _has_reached(world: World, store: Store) -> bool:
    target = store.budget.target
    values = [row.value for row in world.tables.trials if row.value is not None]
    return target is not None and bool(values) and min(values) <= target[0]


def _is_stalled(world: World, store: Store) -> bool:
    limit = store.budget.stalled
    return limit is not None and world.tables.study.stalled >= limit


def _bad_end(world: World, store: Store) -> str | None:
    """A study that is done has nothing RUNNING, and is not done too early."""
    if not is_end(world):
        return None
    study, budget = world.tables.study, store.budget
    if any(row.state == "RUNNING" for row in world.tables.trials):
        return "the study is done, and a trial is RUNNING"
    visited = {point.x for point in world.tables.points if point.state in ("done", "failed", "pruned")}
    is_used_up = study.trials == budget.trials or study.evaluations == budget.evaluations
    is_used_up |= _has_reached(world, store) or _is_stalled(world, store)
    if not is_used_up and len(visited) < len(store.points):
        return "the study is done, though a point is left, and budget for it"
    return None


def _stuck(explored: Explored) -> int | None:
    """The first state from which, without another disturbance, no end can be reached."""
    ends = [number for number, world in enumerate(explored.worlds) if is_end(world)]
    can_end, queue = set(ends), deque(ends)
    while queue:
        for before in explored.calm_before[queue.popleft()]:
            if before not in can_end:
                can_end.add(before)
                queue.append(before)
    return next((number for number in range(len(explored.worlds)) if number not in can_end), None)


def _line(host: int | None, what: str, *, is_swapped: bool) -> str:
    names = "BA" if is_swapped else "AB"
    return (what if host is None else f"host {{{host}}} {what}").format(*names)
