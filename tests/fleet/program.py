"""The steps that one host takes, and the disturbances that may happen to it.

It stands for the tasks of a daemon, which take turns with each other in any order:

- ``_join``: ``Daemon._join`` (tell what the outbox has, then ``Fleet.join``: register; ``Daemon._take_up``:
  settle orphans) and, from the registering on, the second half of ``Daemon._rejoin``; ``Search.hold`` swaps
  its ``Claiming``. A host beats while it settles; here it does not, which only makes more deaths.
- ``Beats``: ``Fleet.run``; a refused beat is the first half of ``_rejoin``: ``Scheduler.kill_all``.
- ``_slot``: ``Scheduler._serve`` with one slot, ``Claiming.next`` and ``Claiming._guarded``; the end of an
  evaluation is ``Teller.put``. Whether a search may start (``may_start``, its state, what it knows of freed
  points) is left out: a slot may ask at any moment, which is more than it does.
- ``_tell``: ``Teller.run``; the second transaction of ``tell`` is a step of its own.
- ``_look``: ``Experiments.follow`` and ``Search.refresh``, then ``Experiments._end`` with
  ``Scheduler.interrupt``; an experiment that is over may be open again.
- ``_reconcile``: ``Reconciliation.look``.
- ``_give_back``: ``Sickness.run``, which the end of a study does too.
- ``Keeping``: the process that owns the runs, and how daemons deal with it.

Work of a host that waits for nothing (the transactions of one beat; to draw, claim and hear of it; to
tell and forget) is one step, unless it freezes in the middle: then all others take any steps before it goes
on with what it had in hand. A read and the transaction that looks again at what was read are one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.fleet.beats import Beats
from tests.fleet.keeping import Keeping, crashed, with_result
from tests.fleet.steps import Rules, Step, at_once, disturbed, find, put, transaction
from tests.fleet.store import Given, Store, claim_of
from tests.fleet.world import Drawn, Granted, Host, Lost, PendingResult, Running, Tables, World
from tuned.domain.result import TellOutcome


class Program:
    """All steps that can be taken in a world."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self._beats = Beats(store, rules)
        self._keeping = Keeping(store, rules)

    def steps(self, world: World) -> Iterator[Step]:
        yield from self._forget(world)
        if is_end(world):
            return
        tasks = (
            self._join, self._beats.go_on, self._beats.settle, self._slots, self._tell, self._look,
            self._reconcile, self._give_back, self._keeping.tell_left,
        )  # fmt: skip
        for host in world.hosts:
            if host.moves:
                for task in tasks:
                    yield from task(world, host)
            yield from self._keeping.ends(world, host)
            yield from self._recover(world, host)
            yield from self._disturb(world, host)
        yield from self._black_out(world)
        yield from self._beats.tick(world)

    # Disturbances of a host

    def _recover(self, world: World, host: Host) -> Iterator[Step]:
        if host.is_away:
            yield Step(host.host, "reaches the database again", put(world, host._replace(is_away=False)))
        if host.is_frozen:
            yield Step(host.host, "goes on", put(world, host._replace(is_frozen=False)))
        if not host.is_up:
            yield Step(host.host, "starts again", put(world, self._keeping.started(host)))

    def _disturb(self, world: World, host: Host) -> Iterator[Step]:
        yield from self._keeping.disturb(world, host)
        if host.is_up and (less := disturbed(world, self._rules, "crash")):
            yield Step(host.host, "crashes", put(less, crashed(host)), is_disturbance=True)
        if host.moves and (less := disturbed(world, self._rules, "freeze")):
            yield Step(host.host, "freezes", put(less, host._replace(is_frozen=True)), is_disturbance=True)
        if host.is_up and not host.is_away and (less := disturbed(world, self._rules, "outage")):
            cut = put(less, host._replace(is_away=True))
            yield Step(host.host, "is cut off from the database", cut, is_disturbance=True)

    def _black_out(self, world: World) -> Iterator[Step]:
        less = disturbed(world, self._rules, "blackout")
        if less is not None and not any(host.is_away for host in world.hosts):
            first, second = world.hosts
            dark = less._replace(hosts=(first._replace(is_away=True), second._replace(is_away=True)))
            yield Step(None, "the database goes away", dark, is_disturbance=True)

    def _forget(self, world: World) -> Iterator[Step]:
        less = disturbed(world, self._rules, "forget")
        if less is not None and world.past is not None:
            forgotten = less._replace(tables=world.past, past=None)
            yield Step(None, "the database forgets the last step", forgotten, is_disturbance=True)

    # Join, and rejoin

    def _join(self, world: World, host: Host) -> Iterator[Step]:
        blinked = host._replace(life="registering", newborn="", sightings=())
        if host.life == "telling" and not host.outbox:
            yield Step(host.host, "has told all of its outbox", put(world, host._replace(life="registering")))
        elif host.life == "registering":
            yield from transaction(
                world, host, self._rules, "registers",
                lambda tables: self._store.register(tables, host.host, self._keeping.claims(host)),
                lambda born: self._keeping.joined(world.tables, host, born),
                blinked,
            )  # fmt: skip
        elif host.life == "settling":
            # Claims of the last incarnation are not looked for any more: they are orphans.
            rejoined = host._replace(
                life="running", claimant=host.newborn, newborn="", beat="resting", rows=(), unknown=()
            )
            yield from transaction(
                world, host, self._rules, "settles orphans and joins",
                self._store.settle_orphans, lambda _: self._keeping.taken_up(world, rejoined), blinked,
            )  # fmt: skip

    # Claim, run

    def _slots(self, world: World, host: Host) -> Iterator[Step]:
        for step in self._slot(world, host):
            yield from at_once(step, host.host, self._slot, self._rules, _is_claiming)

    def _slot(self, world: World, host: Host) -> Iterator[Step]:
        match host.slot:
            case None if host.claimant and host.search == "active" and world.tables.study.state == "open":
                yield from self._find(world, host) if host.unknown else self._draw(world, host)
            case Drawn() as drawn:
                yield from self._claim(world, host, drawn)
            case Granted() as granted:
                yield self._learn(world, host, granted)
            case Running() as running:
                yield from self._run(world, host, running)
            case Lost() as lost:
                yield from self._keeping.give_back(world, host, lost)

    def _find(self, world: World, host: Host) -> Iterator[Step]:
        claim, *rest = host.unknown
        looked = host._replace(unknown=tuple(rest))
        yield from transaction(
            world, host, self._rules, "looks for the claim whose outcome is unknown",
            lambda tables: self._store.find(tables, host.claimant, claim),
            lambda found: _given(looked, found, claim, host.claimant), host,
        )  # fmt: skip

    def _draw(self, world: World, host: Host) -> Iterator[Step]:
        def draw(what: str, x: int | None, origin: str) -> Step:
            drawn = Drawn(x, origin, f"n{host.host}", host.claimant)
            return Step(host.host, what, put(world, host._replace(slot=drawn)))

        freed = None if host.is_away else self._store.next_freed(world.tables).value
        if freed is not None:
            yield draw(f"finds that point {freed} is free again", freed, "freed")
        if not self._rules.is_sampled:
            yield draw("walks on", None, "walk")
            return
        for x in self._store.points:
            yield draw(f"draws point {x}", x, "sampler")

    def _claim(self, world: World, host: Host, drawn: Drawn) -> Iterator[Step]:
        free = host._replace(slot=None)
        lost = (drawn.claim,) if drawn.incarnation == host.claimant else ()
        yield from transaction(
            world, host, self._rules, "claims",
            lambda tables: self._store.claim(
                tables, drawn.incarnation, drawn.claim, drawn.x, drawn.origin
            ),
            lambda outcome: _given(free, outcome, drawn.claim, drawn.incarnation),
            free._replace(unknown=(*host.unknown, *lost)),
        )  # fmt: skip

    def _learn(self, world: World, host: Host, granted: Granted) -> Step:
        if self.is_ours(host, granted):
            if host.search == "ending":
                # Granted after the others were killed: what comes settles it with them.
                killed = put(world, host._replace(slot=None))
                return Step(host.host, f"kills point {granted.x}, which it was just given", killed)
            begun = host._replace(slot=Running(granted.x, granted.claim, granted.incarnation))
            return Step(host.host, f"begins with point {granted.x}", put(world, begun))
        late = put(world, host._replace(slot=None))
        return Step(host.host, f"hears too late that it was given point {granted.x}", late)

    def is_ours(self, host: Host, granted: Granted) -> bool:
        """``Claiming.next``, after the answer: ``kill_all`` has made it give up what was asked."""
        return host.life == "running" and host.claimant == granted.incarnation

    def _run(self, world: World, host: Host, running: Running) -> Iterator[Step]:
        x = running.x
        if running.has_crashed:
            again = running._replace(attempt=running.attempt + 1, has_crashed=False)
            yield from transaction(
                world, host, self._rules, f"charges another try of point {x}",
                lambda tables: self._store.charge_retry(tables, running.claim, x, running.attempt),
                lambda may: (
                    host._replace(slot=again)
                    if may
                    else self._ended(world, host, running._replace(ending="failure"))
                ),
                host,
            )  # fmt: skip
            return
        if running.has_ended or self._keeping.is_apart:
            yield from self._keeping.hear(world, host, running) if running.has_ended else ()
            return
        finished = world._replace(finished=world.finished | {x})
        ended = put(finished, self._ended(world, host, running._replace(ending="value")))
        yield Step(host.host, f"has evaluated point {x}: the value is in its outbox", ended)
        if self._rules.prunes:
            # ``process._is_pruned``: a result that was there before has taken the step above.
            pruned = self._ended(world, host, running._replace(ending="pruned"))
            yield Step(host.host, f"ends point {x} before it has a value", put(world, pruned))
        if self._rules.retries is not None:
            failed = self._ended(world, host, running._replace(ending="failure"))
            if running.attempt <= self._rules.retries:
                failed = host._replace(slot=running._replace(has_crashed=True))
            yield Step(host.host, f"fails to evaluate point {x}", put(world, failed))

    def _ended(self, world: World, host: Host, running: Running) -> Host:
        return with_result(world, host, running, self._rules)._replace(slot=None)

    # Tell

    def _tell(self, world: World, host: Host) -> Iterator[Step]:
        if not host.outbox:
            return
        pending = host.outbox[0]
        after = max((each.number for each in host.kept), default=0)
        for step in transaction(
            world, host, self._rules, f"tells of point {pending.x}",
            lambda tables: self._store.tell(
                tables, host.host, pending, after=after, is_late=host.is_late
            ),
            lambda became: self._told(host, pending, became),
            host._replace(is_late=False),
        ):  # fmt: skip
            yield step
            less = disturbed(step.world, self._rules, "crash")
            if less is not None and len(find(less, host.host).outbox) < len(host.outbox):
                dead = put(less, crashed(host))
                yield step.then(Step(host.host, "crashes before it forgets", dead, is_disturbance=True))

    def _told(self, host: Host, pending: PendingResult, became: TellOutcome | None) -> Host:
        """``Teller._put_away``: also a record that the database knew already is kept."""
        if became is None:
            return host._replace(is_late=True)
        kept = (pending,) if pending.number and became is not TellOutcome.DROPPED else ()
        return host._replace(is_late=False, outbox=host.outbox[1:], kept=(*host.kept, *kept))

    # Reconcile

    def _reconcile(self, world: World, host: Host) -> Iterator[Step]:
        """``Reconciliation.look``, each of its transactions at any moment."""
        told = next(line.told for line in world.tables.hosts if line.host == host.host)
        if host.is_away:
            return
        if host.life in ("telling", "running") and (back := tuple(p for p in host.kept if p.number > told)):
            kept = tuple(pending for pending in host.kept if pending.number <= told)
            again = host._replace(outbox=(*back, *host.outbox), kept=kept, is_late=False)
            yield Step(host.host, "finds its results forgotten", put(world, again))
        elif host.life == "running" and not back:
            yield from self._claim_again(world, host)
            yield from self._settle(world, host)

    def _claim_again(self, world: World, host: Host) -> Iterator[Step]:
        running = host.slot
        if not isinstance(running, Running) or running.incarnation != host.claimant:
            return
        if running.claim not in held_claims(world.tables, host.claimant):
            yield from transaction(
                world, host, self._rules, f"claims point {running.x} again",
                lambda tables: self._store.claim_again(
                    tables, host.claimant, running.claim, running.x, running.attempt
                ),
                lambda may: host if may else host._replace(slot=None), host,
            )  # fmt: skip

    def _settle(self, world: World, host: Host) -> Iterator[Step]:
        known = {*host.unknown, *(pending.claim for pending in host.outbox)}
        known.update(run.claim for run in host.left)
        if host.slot is not None:
            known.add(host.slot.claim)
        if not_run := held_claims(world.tables, host.claimant) - known:
            yield from transaction(
                world, host, self._rules, "settles what it does not run",
                lambda tables: self._store.settle_claims(tables, host.claimant, not_run),
                lambda _: host, host,
            )  # fmt: skip

    def _give_back(self, world: World, host: Host) -> Iterator[Step]:
        """``Sickness.run``, of any host at any moment."""
        has_crash = any(row.went_well is not None and row.cause != "host" for row in world.tables.trials)
        if self._rules.has_sick and has_crash and host.life == "running" and not host.is_away:
            yield from transaction(
                world, host, self._rules, "gives back crashes of a sick host",
                self._store.give_back_sick, lambda _: host, host,
            )  # fmt: skip

    # Look

    def _look(self, world: World, host: Host) -> Iterator[Step]:
        if host.life != "running" or host.is_away:
            return
        if host.search == "active":
            answer = self._store.look(world.tables)
            now = host
            if answer.value == "done":
                # A running trial is killed; a slot that claims just now finishes its claim first.
                now = host._replace(search="ending")
                if isinstance(host.slot, Running):
                    killed = ((host.slot.claim, host.slot.ended),)
                    now = now._replace(slot=None, killed=killed)
            seen = put(world._replace(tables=answer.tables), now)
            yield Step(host.host, f"sees that the study is {answer.value}", seen)
        elif host.search == "over" and world.tables.study.state == "open":
            again = put(world, host._replace(search="active"))
            yield Step(host.host, "sees that the study is open again", again)
        elif host.search == "ending" and host.slot is None:
            kept = frozenset(pending.claim for pending in host.outbox)
            yield from transaction(
                world, host, self._rules, "settles what it killed",
                lambda tables: self._store.settle_own(tables, host.claimant, kept, host.killed),
                lambda _: host._replace(search="over", unknown=(), killed=()), host._replace(search="active"),
            )  # fmt: skip


def is_end(world: World) -> bool:
    """The study is done, nothing of it is left to be settled, and nobody has anything in hand."""
    told = {line.host: line.told for line in world.tables.hosts}
    is_settled = all(point.state != "held" for point in world.tables.points)
    return (
        world.tables.study.state == "done"
        and is_settled
        and all(
            host.slot is None
            and not host.outbox
            and not host.left
            and not host.is_frozen
            and all(pending.number <= told[host.host] for pending in host.kept)
            for host in world.hosts
        )
    )


def held_claims(tables: Tables, incarnation: str) -> frozenset[str]:
    """The claims that an incarnation holds, as ``remembered`` has them."""
    held = {p.trial for p in tables.points if p.state == "held" and p.incarnation == incarnation}
    return frozenset(claim_of(row) for row in tables.trials if row.trial in held)


def remember(before: World, after: World, rules: Rules) -> World:
    """Takes note of the tables that the database may fall back to, and of the results that it may forget."""
    if "forget" not in rules.kinds:
        return after
    past = before.past if after.tables == before.tables else before.tables
    past = past if after.disturbances else None
    moments = (after.tables,) if past is None else (after.tables, past)
    hosts = []
    for host in after.hosts:
        least = min(line.told for tables in moments for line in tables.hosts if line.host == host.host)
        hosts.append(host._replace(kept=tuple(p for p in host.kept if p.number > least)))
    return after._replace(past=past, hosts=(hosts[0], hosts[1]))


def _is_claiming(host: Host) -> bool:
    return isinstance(host.slot, Drawn | Granted)


def _given(host: Host, outcome: Any, claim: str, incarnation: str) -> Host:
    if not isinstance(outcome, Given):
        return host
    return host._replace(slot=Granted(outcome.x, claim, incarnation))
