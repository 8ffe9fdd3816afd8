"""Steps, and how steps of one host that follow each other at once become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.fleet.store import Answer, Given, Violation
from tests.fleet.world import Host, Tables, World
from tuned.domain.result import TellOutcome

#: The disturbances: a process ends; it stands still; one host or all lose the database; a commit's
#: outcome is unknown.
KINDS = frozenset({"crash", "freeze", "outage", "blackout", "unknown"})

#: And the database forgets what the last step changed; a daemon ends without its keeper, or a keeper without
#: its daemon. They make more states than the others.
ALL_KINDS = KINDS | {"forget", "daemon", "keeper"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The disturbances that a fleet's world may have, how many, and what its hosts evaluate."""

    #: How many, of these kinds, come in one story at most. Their ends are free.
    disturbances: int = 1
    kinds: frozenset[str] = KINDS
    #: Instead of any of them: these, one after the other.
    in_order: tuple[str, ...] = ()
    #: In ticks.
    expire: int = 2
    #: Points come from a sampler that may draw any; else from the walk.
    is_sampled: bool = False
    #: Evaluations may crash, and are then tried again so often. None: they never do.
    retries: int | None = None
    #: A rule may end an evaluation before it has its value.
    prunes: bool = False
    #: One crash is a row that makes its host sick, if the other one does well.
    has_sick: bool = False

    @property
    def to_come(self) -> int | tuple[str, ...]:
        return self.in_order or self.disturbances


class Step(NamedTuple):
    #: The host that takes the step; None: all of them.
    host: int | None
    #: In words; a host is named by its number in braces.
    what: str
    world: World
    is_disturbance: bool = False

    def then(self, step: Step) -> Step:
        """Both as one."""
        what = f"{self.what}, {step.what}"
        if step.host != self.host:
            what = f"{self.what}; host {{{step.host}}} {step.what}"
        return Step(self.host, what, step.world, self.is_disturbance or step.is_disturbance)


Task = Callable[[World, Host], Iterator[Step]]


def put(world: World, host: Host) -> World:
    first, second = world.hosts
    return world._replace(hosts=(host, second) if host.host == first.host else (first, host))


def find(world: World, host: int) -> Host:
    return next(one for one in world.hosts if one.host == host)


def disturbed(world: World, rules: Rules, kind: str) -> World | None:
    """The world with one disturbance of a kind less to come; None if none may come."""
    if not world.disturbances or kind not in rules.kinds:
        return None
    if isinstance(world.disturbances, int):
        return world._replace(disturbances=world.disturbances - 1)
    first, *others = world.disturbances
    return world._replace(disturbances=tuple(others)) if kind == first else None


def at_once(
    step: Step, host: int, task: Task, rules: Rules, goes_on: Callable[[Host], bool]
) -> Iterator[Step]:
    """A step, and those of the same task that follow while it ``goes_on``; or a freeze in between."""
    now = find(step.world, host)
    if not now.moves or not goes_on(now):
        yield step
        return
    less = disturbed(step.world, rules, "freeze")
    if less is not None:
        yield step.then(Step(host, "freezes", put(less, now._replace(is_frozen=True)), is_disturbance=True))
    for following in task(step.world, now):
        yield from at_once(step.then(following), host, task, rules, goes_on)


def transaction(  # noqa: PLR0917 (what, then by what and into what)
    world: World,
    host: Host,
    rules: Rules,
    what: str,
    ask: Callable[[Tables], Answer],
    then: Callable[[Any], Host],
    away: Host,
) -> Iterator[Step]:
    """A transaction that goes through, or is refused as the database is away, or ends nobody knows how.

    ``then`` is the host after the answer, ``away`` the host that was told that the database is away.
    """
    refused = put(world, away)
    if host.is_away:
        yield Step(host.host, f"{what}: the database is away", refused)
        return
    try:
        answer = ask(world.tables)
    except Violation as violation:
        violation.last = ((host.host, what),)
        raise
    told = put(world._replace(tables=answer.tables), then(answer.value))
    yield Step(host.host, what + _word(answer.value), told)
    lost = disturbed(refused, rules, "unknown")
    if lost is not None and answer.tables is not world.tables:
        yield Step(host.host, f"{what}: outcome unknown, and not applied", lost, is_disturbance=True)
        applied = lost._replace(tables=answer.tables)
        yield Step(host.host, f"{what}: outcome unknown, but applied", applied, is_disturbance=True)


def _word(value: Any) -> str:
    match value:
        case Given(x):
            return f": point {x} is given"
        case None | False:
            return ": no"
        case TellOutcome() | "closed" | "idle" | "reuse" | "skip" | "resample":
            return f": {value}"
        case _:
            return ""
