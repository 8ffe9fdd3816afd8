"""The keeper of a host, a process of its own: it goes on when the daemon dies, and dies by itself.

The daemon's slot stands for a run that both know. ``Host.left`` are the runs that the keeper has and no slot:
those of a daemon that died, until the next one has taken them up. The steps stand for:

- ``ends``: the keeper ends a run, and its ending is durable there before any daemon hears of it.
- ``hear``: ``Scheduler._see_out``; the result is in the outbox before the keeper forgets the run.
- ``claims`` and ``joined``: ``Adoptions.look`` and ``take_over``, of a daemon that starts.
- ``taken_up``: ``Adoptions.admit``; a run whose claim was not taken over is killed.
- ``tell_left``: ``Adoptions._end_late``.
- ``without_keeper``: the daemon begins another keeper, and hears from that how a run ended whose record the
  dead one left: ``KeeperProcess.run`` and ``resume``. An attempt that crashed goes on with the next one.
- ``give_back``: ``Scheduler.give_back`` of the run of a keeper that died.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from tests.fleet.steps import Rules, Step, disturbed, find, put, transaction
from tests.fleet.store import Born, Store, Violation
from tests.fleet.world import Host, Lost, PendingResult, Running, Tables, World


class Keeping:
    """The steps of keepers, and of daemons with them."""

    #: The order in which a daemon makes an ending its own.
    ORDER = ("outbox", "forget")

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        #: Without a disturbance that tells them apart, daemon and keeper live and die together.
        self.is_apart = not rules.kinds.isdisjoint({"daemon", "keeper"})
        #: Something may happen to the keeper after it ended a run, and before the daemon hears of that.
        self._is_slow = not rules.kinds.isdisjoint({"crash", "keeper"})

    # The keeper

    def ends(self, world: World, host: Host) -> Iterator[Step]:
        """Runs end whether a daemon is there or not."""
        if not self.is_apart or host.is_frozen:
            return
        if isinstance(slot := host.slot, Running) and not slot.has_ended:
            for ended, what in self._endings(slot):
                step = self._ended(world, host._replace(slot=ended), ended, what)
                yield from [step] if self._is_slow else self._heard(step, ended)
        for run in host.left:
            for ended, what in () if run.has_ended else self._endings(run):
                yield self._ended(world, _changed(host, run, ended), ended, what)

    def _heard(self, step: Step, run: Running) -> Iterator[Step]:
        host = find(step.world, cast("int", step.host))
        for heard in self.hear(step.world, host, run):
            yield step.then(heard)

    def _endings(self, run: Running) -> Iterator[tuple[Running, str]]:
        yield run._replace(ending="value"), f"has evaluated point {run.x} for its keeper"
        if self._rules.retries is not None:
            yield run._replace(ending="failure"), f"fails to evaluate point {run.x} for its keeper"

    @staticmethod
    def _ended(world: World, host: Host, run: Running, what: str) -> Step:
        finished = world.finished | {run.x} if run.ending == "value" else world.finished
        return Step(host.host, what, put(world._replace(finished=finished), host))

    def disturb(self, world: World, host: Host) -> Iterator[Step]:
        if host.is_up and (less := disturbed(world, self._rules, "daemon")):
            yield Step(host.host, "loses its daemon", put(less, without_daemon(host)), is_disturbance=True)
        has_any = isinstance(host.slot, Running) or host.left
        if has_any and (less := disturbed(world, self._rules, "keeper")):
            yield Step(host.host, "loses its keeper", put(less, without_keeper(host)), is_disturbance=True)

    # The daemon that began the run

    def hear(self, world: World, host: Host, running: Running) -> Iterator[Step]:
        """Of an ending: two things to do, and the daemon may die in between."""
        retries = self._rules.retries
        if running == host.slot and running.ending == "failure" and running.attempt <= (retries or 0):
            failed = host._replace(slot=running._replace(ending="", has_crashed=True))
            yield Step(host.host, f"hears that point {running.x} failed", put(world, failed))
            return
        moments = self._moments(world, host, running)
        yield Step(host.host, f"hears of the end of point {running.x}", put(world, moments[-1]))
        if less := disturbed(world, self._rules, "daemon"):
            dead = put(less, without_daemon(moments[0]))
            what = f"loses its daemon as that hears of the end of point {running.x}"
            yield Step(host.host, what, dead, is_disturbance=True)

    def _moments(self, world: World, host: Host, running: Running) -> list[Host]:
        moments, is_in_slot = [], host.slot == running
        for each in self.ORDER:
            if each == "outbox":
                host = with_result(world, host, running, self._rules)
            elif is_in_slot:
                host = host._replace(slot=None)
            else:
                host = host._replace(left=tuple(run for run in host.left if run != running))
            moments.append(host)
        return moments

    def give_back(self, world: World, host: Host, lost: Lost) -> Iterator[Step]:
        yield from transaction(
            world, host, self._rules, f"gives back point {lost.x}, whose run it has lost",
            lambda tables: self._store.give_back(tables, lost.claim),
            lambda _: host._replace(slot=None), host,
        )  # fmt: skip

    # The next daemon

    @staticmethod
    def started(host: Host) -> Host:
        """A run whose result is in the outbox is forgotten."""
        told = {pending.claim for pending in host.outbox}
        left = tuple(run for run in host.left if run.claim not in told)
        return host._replace(life="telling" if host.outbox else "registering", left=left)

    @staticmethod
    def claims(host: Host) -> frozenset[str]:
        """The claims that a daemon keeps as it starts; one that was taken for dead keeps none."""
        return frozenset() if host.claimant else frozenset(run.claim for run in host.left)

    @staticmethod
    def joined(before: Tables, host: Host, born: Born) -> Host:
        left = tuple(
            run._replace(
                incarnation=born.incarnation if run.claim in born.adopted else run.incarnation,
                is_in_time=not host.claimant and _is_in_time(before, host, run),
            )
            for run in host.left
        )
        return host._replace(life="settling", newborn=born.incarnation, missed=0, left=left)

    def taken_up(self, world: World, host: Host) -> Host:
        """An adopted run gets the slot, and others that run are killed."""
        left = []
        for run in host.left:
            if run.incarnation == host.claimant and host.slot is None:
                host = host._replace(slot=run)
            elif run.has_ended:
                left.append(run._replace(is_in_time=False))
            elif run.is_in_time and not is_dead(world.tables, host):
                raise Violation(f"the run of point {run.x} is killed, though its host came back in time")
        return host._replace(left=tuple(left))

    def tell_left(self, world: World, host: Host) -> Iterator[Step]:
        if host.life == "running":
            for run in host.left:
                yield from self.hear(world, host, run)


def with_result(world: World, host: Host, running: Running, rules: Rules) -> Host:
    """``Teller.put``."""
    number = _next_number(world, host) if "forget" in rules.kinds else 0
    has_value = running.ending == "value"
    pending = PendingResult(
        running.x, running.claim, has_value, running.attempt, number, running.ending == "pruned"
    )
    return host._replace(outbox=(*host.outbox, pending))


def _next_number(world: World, host: Host) -> int:
    """``Outbox.new_name``: above all that this host ever used."""
    moments = (world.tables,) if world.past is None else (world.tables, world.past)
    told = (line.told for tables in moments for line in tables.hosts if line.host == host.host)
    return 1 + max(*told, *(pending.number for pending in (*host.outbox, *host.kept)), 0)


def crashed(host: Host) -> Host:
    """Only its disk remains. An experiment that was not yet put away is active again after a restart."""
    return without_keeper(without_daemon(host))


def without_daemon(host: Host) -> Host:
    """The keeper goes on with its run."""
    search = "over" if host.search == "over" else "active"
    left = host.left
    if isinstance(host.slot, Running):
        ending = "failure" if host.slot.has_crashed else host.slot.ending
        left += (host.slot._replace(ending=ending, has_crashed=False, is_in_time=False),)
    return Host(host.host, outbox=host.outbox, kept=host.kept, is_away=host.is_away, search=search, left=left)


def without_keeper(host: Host) -> Host:
    """The endings are on its disk: the next keeper has them. All else that it ran is lost."""
    left = tuple(run for run in host.left if survives(run))
    slot = host.slot
    if isinstance(slot, Running) and not slot.has_crashed and not survives(slot):
        slot = Lost(slot.x, slot.claim)
    return host._replace(left=left, slot=slot)


def without_killed(before: World, after: World) -> World:
    """Nobody misses the value of a run that was killed before its daemon had heard of it."""
    told = {row.x for row in after.tables.trials if row.value is not None}
    for was, now in zip(before.hosts, after.hosts, strict=True):
        slot = was.slot
        if isinstance(slot, Running) and slot.ending == "value" and now.is_up and now.slot is None:
            kept = {pending.claim for pending in now.outbox} | {run.claim for run in now.left}
            if slot.claim not in kept and slot.x not in told:
                after = after._replace(finished=after.finished - {slot.x})
    return after


def survives(run: Running) -> bool:
    """Whether a run's record outlives its keeper."""
    return run.has_ended


def _changed(host: Host, run: Running, now: Running) -> Host:
    return host._replace(left=tuple(now if each == run else each for each in host.left))


def _is_in_time(before: Tables, host: Host, run: Running) -> bool:
    """Nobody has settled it: the host's last incarnation still holds its point."""
    line = next(line for line in before.hosts if line.host == host.host)
    trials = {row.trial for row in before.trials if row.claim == run.claim and row.state == "RUNNING"}
    return any(
        point.state == "held" and point.trial in trials and point.incarnation == line.incarnation
        for point in before.points
    )


def is_dead(tables: Tables, host: Host) -> bool:
    return next(line.dead for line in tables.hosts if line.host == host.host)
