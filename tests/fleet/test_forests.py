"""Several hosts in spaces with structure: they evaluate each point once, and then the search is over."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.factories import Member, at_once, join, make_experiment, opened
from tests.forests import by_brute_force, forests
from tuned.domain.claim import Claimed, new_claim_id
from tuned.domain.space import Point, Space
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over

_STUDIES = itertools.count()


@pytest.fixture
def databases(database_url: str) -> Iterator[tuple[Database, Database]]:
    with opened(database_url) as first, opened(database_url) as second:
        yield first, second


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(space=forests(most_parameters=4))
def test_hosts_that_draw_at_random_evaluate_each_point_of_a_forest_once(
    databases: tuple[Database, Database], space: Space
) -> None:
    assume(space.size is not None and 2 <= space.size <= 60)
    name = f"forest-{next(_STUDIES)}"
    experiment = replace(make_experiment('[sampler]\nname = "random"', name=name), space=space)
    hosts = [join(database, experiment, f"{name}-{host}") for host, database in enumerate(databases)]
    evaluated = itertools.chain(*at_once(*(lambda host=host: _search(host) for host in hosts)))
    expected = Counter(frozenset(values.items()) for values in by_brute_force(space))
    assert Counter(frozenset(point.values.items()) for point in evaluated) == expected
    close_if_over(hosts[0].database, hosts[0].status.study_id)
    assert hosts[0].now().state.value == "done"
    assert all(trial.params in by_brute_force(space) for trial in hosts[0].trials())


def _search(host: Member) -> list[Point]:
    """Evaluates all points that it gets, drawn or from the walk; ends when all points are visited."""
    source = host.source()
    points = []
    while host.now().visited < (host.status.size or 0):
        draft = source.draw()
        outcome = host.claims.claim(draft.candidate)
        source.release(draft)
        if not isinstance(outcome, Claimed):
            outcome = host.claims.claim_unvisited(new_claim_id(), host.status.revision)
        if isinstance(outcome, Claimed):
            points.append(outcome.point)
            host.tell(outcome, 0.5)
    return points
