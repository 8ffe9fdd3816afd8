"""Runs that outlive their daemon, in all interleavings; and that a broken rule of their adoption is seen.

``test_protocol`` has the same fleet while daemon and keeper live and die together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from tests.factories import line, make_experiment
from tests.fleet import keeping
from tests.fleet.keeping import Keeping
from tests.fleet.model import Explored, explore, stored
from tests.fleet.program import Program, is_end
from tests.fleet.steps import Rules, Step, transaction
from tests.fleet.store import Answer, Born, Store, Violation
from tests.fleet.world import Host, Running, Tables, World
from tuned.storage.tables.schema import t_point
from tuned.storage.trials import adoption

#: They compute for half a minute; on a machine that does much else, for minutes.
pytestmark = pytest.mark.timeout(600)


def run(points: int, *kinds: str, extra: str = "", **rules: Any) -> Explored:
    """These come in each story, in this order."""
    with stored(make_experiment(extra, space=line(points))) as store:
        explored = explore(store, Rules(kinds=frozenset(kinds), in_order=kinds, **rules))
    print(f"\n{explored}")  # noqa: T201 (``-s`` shows it)
    return explored


def story(*kinds: str) -> str:
    with pytest.raises(Violation) as caught:
        run(1, *kinds)
    print(f"\n{caught.value}")  # noqa: T201 (``-s`` shows it)
    return str(caught.value)


# Promises


@pytest.mark.parametrize("other", ["crash", "forget", "keeper", "unknown"])
def test_a_run_outlives_its_daemon_and_one_more_disturbance(other: str) -> None:
    explored = run(1, "daemon", other)
    assert any(run.is_in_time for world in explored.worlds for run in slots(world))


def slots(world: World) -> list[Running]:
    return [host.slot for host in world.hosts if isinstance(host.slot, Running)]


def test_a_budget_of_two_evaluations_while_crashed_ones_are_tried_again_by_another_daemon() -> None:
    explored = run(1, "daemon", extra="[budget]\nevaluations = 2", retries=1)
    assert any(run.is_in_time and run.attempt == 2 for world in explored.worlds for run in slots(world))


def test_a_value_whose_host_was_silent_for_too_long_comes_late() -> None:
    explored = run(1, "daemon")
    ends = [world.tables for world in explored.worlds if is_end(world)]
    assert any(row.is_late for tables in ends for row in tables.trials)
    # Most daemons come back in time, and nobody has begun the point again.
    assert any([row.state for row in tables.trials] == ["COMPLETE"] for tables in ends)


# Violations that are seen if a rule is taken out


IN_TIME = "though its host came back in time"


def test_without_the_takeover_a_run_is_given_up_though_its_host_came_back_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "take_over", lambda *_, **__: ())
    assert IN_TIME in story("daemon")


def test_with_the_takeover_after_the_join_another_host_settles_the_run_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "take_over", lambda *_, **__: ())
    join = Program._join

    def join_then_take_over(program: Program, world: World, host: Host) -> Iterator[Step]:
        late = [run for run in host.left if run.incarnation != host.newborn]
        if host.life != "settling" or not late:
            yield from join(program, world, host)
            return
        [run] = late
        ours = run._replace(incarnation=host.newborn)
        yield from transaction(
            world, host, program._rules, "takes over what it has kept",
            lambda tables: take_over_late(program._store, tables, run.incarnation, host.newborn),
            lambda _: host._replace(left=(ours,)), host,
        )  # fmt: skip

    monkeypatch.setattr(Program, "_join", join_then_take_over)
    told = story("daemon")
    assert IN_TIME in told
    assert told.index("registers") < told.index("settles orphans")
    assert "takes over what it has kept" not in told


def take_over_late(store: Store, tables: Tables, earlier: str, incarnation: str) -> Answer:
    def call() -> None:
        with store._database.transaction() as connection:
            held = (t_point.c.incarnation == earlier) & (t_point.c.state == "held")
            connection.execute(update(t_point).where(held).values(incarnation=incarnation))

    return store._ask(tables, ("take over", earlier, incarnation), call)


def test_without_killing_the_run_that_others_have_settled_both_hosts_evaluate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined = Keeping.joined

    def joined_with_all(before: Tables, host: Host, born: Born) -> Host:
        return joined(before, host, born._replace(adopted=frozenset(run.claim for run in host.left)))

    monkeypatch.setattr(Keeping, "joined", staticmethod(joined_with_all))
    assert "both hosts evaluate point 0" in story("daemon")


def test_a_keeper_that_forgets_before_the_result_is_on_disk_loses_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Keeping, "ORDER", ("forget", "outbox"))
    assert "the value of point 0 is lost" in story("daemon")


def test_a_keeper_that_dies_after_it_ended_a_run_loses_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    explored = run(1, "keeper")
    ended = [world for world in explored.worlds if not world.disturbances and is_end(world)]
    assert any(len(world.tables.trials) == 1 for world in ended)
    monkeypatch.setattr(keeping, "survives", lambda _: False)
    assert "the value of point 0 is lost" in story("keeper")


@pytest.mark.parametrize("kinds", [("daemon", "crash"), ("daemon", "keeper")], ids=", ".join)
def test_a_keeper_whose_record_is_not_durable_loses_the_value(
    kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "survives", lambda _: False)
    assert "the value of point 0 is lost" in story(*kinds)
