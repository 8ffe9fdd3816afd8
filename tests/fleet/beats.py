"""Time, beats, and the watch of each host over the other.

A tick of the clock is three intervals, the longest pause between two looks that is no gap for a watch: so
the last look was now, a tick ago, or before a gap. With a tick everybody who can beats, in any order. While
all is well a tick only moves the counters and shows them to everybody: then it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.fleet.steps import Rules, Step, at_once, find, put, transaction
from tests.fleet.store import Store, host_row
from tests.fleet.world import Host, HostLine, Running, Seen, Tables, World
from tuned.daemon.failure_detector import FailureDetector, Sighting

INTERVAL = 1 / 3
OLDEST_LOOK = 2


class Beats:
    """The loops of ``Fleet.run``, with the real ``FailureDetector``."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    def tick(self, world: World) -> Iterator[Step]:
        if is_quiet(world) or any(_is_joining(host) or _is_beating(host) for host in world.hosts):
            return
        first, second = world.hosts
        aged = world._replace(hosts=(self._aged(first), self._aged(second)))
        yield from self._all_beat(Step(None, "time passes", aged))

    def go_on(self, world: World, host: Host) -> Iterator[Step]:
        """After a freeze in the middle of a beat."""
        if _is_beating(host):
            for step in self._beat(world, host):
                yield from at_once(step, host.host, self._beat, self._rules, _is_beating)

    def settle(self, world: World, host: Host) -> Iterator[Step]:
        """``Fleet.settle_orphans``, at any moment: more often than a host does it."""
        if host.life == "running" and not host.is_away:
            tables = self._store.settle_orphans(world.tables).tables
            if tables is not world.tables:
                yield Step(host.host, "settles orphans", world._replace(tables=tables))

    def _aged(self, host: Host) -> Host:
        is_due = host.moves and host.life == "running" and host.beat == "resting"
        return host._replace(
            beat="due" if is_due else host.beat,
            look_age=None if host.look_age is None else min(host.look_age + 1, OLDEST_LOOK),
            sightings=tuple(
                seen._replace(age=min(seen.age + 1, self._rules.expire)) for seen in host.sightings
            ),
        )

    def _all_beat(self, step: Step) -> Iterator[Step]:
        due = [host for host in step.world.hosts if host.beat == "due"]
        if not due:
            yield step
        for host in due:
            for beaten in self._beat(step.world, host):
                for done in at_once(beaten, host.host, self._beat, self._rules, _is_beating):
                    yield from self._all_beat(step.then(done))

    def _beat(self, world: World, host: Host) -> Iterator[Step]:
        """One transaction, or one look."""
        blinked = host._replace(beat="resting", rows=(), sightings=self._blinked(host))
        match host.beat:
            case "due":
                beaten = host._replace(beat="beaten", missed=0)
                for step in transaction(
                    world, host, self._rules, "beats", lambda tables: self._store.beat(tables, host.claimant),
                    lambda lives: beaten if lives else kill_all(host), blinked,
                ):  # fmt: skip
                    yield step._replace(world=self._missed(step.world, host))
            case _ if host.is_away:
                yield Step(host.host, "finds the database away", put(world, blinked))
            case "beaten":
                # Nobody asks another host's row how far it has told.
                rows = tuple(line._replace(told=0) for line in world.tables.hosts)
                yield Step(host.host, "reads all hosts", put(world, host._replace(beat="seen", rows=rows)))
            case "seen":
                yield Step(host.host, "looks at them", put(world, self._looked(host)))
            case "marking":
                dead, *others = host.rows
                marked = host._replace(rows=tuple(others), beat="marking" if others else "resting")
                yield from transaction(
                    world, host, self._rules, f"marks host {{{dead.host}}} dead",
                    lambda tables: self._store.mark_dead(tables, dead), lambda _: marked, blinked,
                )  # fmt: skip

    def _missed(self, world: World, host: Host) -> World:
        """If a beat went through, the other's is missed until it comes."""
        if find(world, host.host).beat != "beaten":
            return world
        other = next(one for one in world.hosts if one.host != host.host)
        if other.life not in ("settling", "running"):
            return world
        return put(world, other._replace(missed=min(other.missed + 1, self._rules.expire)))

    def _looked(self, host: Host) -> Host:
        """Now is 0 for the watch."""
        watch = self._watch()
        watch._last_look = None if host.look_age is None else -float(host.look_age)
        watch._sightings = {seen.incarnation: _sighting(seen) for seen in host.sightings}
        found = {row.incarnation for row in watch.look([host_row(line) for line in host.rows], 0.0)}
        dead = tuple(line for line in host.rows if line.incarnation in found - {host.claimant})
        return host._replace(
            beat="marking" if dead else "resting",
            rows=dead,
            look_age=0,
            sightings=tuple(
                Seen(s.row.incarnation, s.row.beat, min(int(-s.since), self._rules.expire))
                for s in watch.sightings
                # Nobody finds himself dead.
                if s.row.incarnation != host.claimant
            ),
        )

    def _blinked(self, host: Host) -> tuple[Seen, ...]:
        watch = self._watch()
        watch._sightings = {seen.incarnation: _sighting(seen) for seen in host.sightings}
        watch.blink()
        return tuple(seen for seen in host.sightings if seen.incarnation in watch._sightings)

    def _watch(self) -> FailureDetector:
        return FailureDetector(INTERVAL, float(self._rules.expire))


def _sighting(seen: Seen) -> Sighting:
    row = host_row(HostLine(0, seen.incarnation, seen.beat, dead=False))
    return Sighting(row=row, since=-float(seen.age))


def kill_all(host: Host) -> Host:
    """``Scheduler.kill_all``: a slot that is about to hear of its claim is not among those that run."""
    slot = None if isinstance(host.slot, Running) else host.slot
    return host._replace(life="registering", beat="resting", slot=slot)


def is_quiet(world: World) -> bool:
    """All is well: a tick would only move the counters and show them to everybody."""
    lines = {line.host: line for line in world.tables.hosts}
    first, second = world.hosts
    return all(
        host.life == "running"
        and host.beat == "resting"
        and not (host.is_frozen or host.is_away)
        and lines[host.host].incarnation == host.claimant
        and not lines[host.host].dead
        and (host.look_age or 0) <= 1
        and [seen.incarnation for seen in host.sightings if seen.age <= 1] == [other.claimant]
        for host, other in ((first, second), (second, first))
    )


def quieted(world: World) -> World:
    """A quiet world after its next tick: everybody has just seen everybody."""
    if not is_quiet(world):
        return world
    first, second = world.hosts
    hosts = (fresh(first, second), fresh(second, first))
    past = None if world.past is None else _beaten(world.past, -1)
    return world._replace(tables=_beaten(world.tables, 0), hosts=hosts, past=past)


def _beaten(tables: Tables, beat: int) -> Tables:
    return tables._replace(hosts=tuple(line._replace(beat=beat) for line in tables.hosts))


def fresh(host: Host, other: Host) -> Host:
    """A host that has just seen the other, whose counter is at 0."""
    return host._replace(look_age=0, sightings=(Seen(other.claimant, 0, 0),), missed=0, rows=())


def _is_joining(host: Host) -> bool:
    """It takes far less than a tick, if nothing is in the way."""
    return host.moves and not host.is_away and host.life in ("registering", "settling")


def _is_beating(host: Host) -> bool:
    return host.moves and host.beat not in ("resting", "due")
