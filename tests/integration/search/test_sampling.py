"""Drafts: what samplers draw before there is a trial, and what they see of other trials."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from optuna.pruners import HyperbandPruner, NopPruner, _filter_study
from optuna.trial import TrialState

from tests.factories import CONTINUOUS, MIXED, at_once, join, make_experiment, opened
from tests.integration.search.drawing import PLANE, evaluate, search, visible
from tuned.domain.claim import Claimed, Origin
from tuned.experiment.samplers import SAMPLERS, missing_packages
from tuned.storage.database import Database

DRAWN = [name for name, entry in SAMPLERS.items() if not entry.is_walk]
STUDIES = itertools.count()


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


# Samplers


@pytest.mark.parametrize("space", [MIXED, PLANE], ids=["mixed", "plane"])
@pytest.mark.parametrize("sampler", DRAWN)
def test_each_sampler_draws_points_of_the_space_or_says_what_it_needs(
    database: Database, sampler: str, space: str
) -> None:
    if missing := missing_packages(sampler):
        assert f"cannot use the sampler {sampler}: the Python package" in missing
        return
    member = search(database, sampler, space=space)
    source = member.source()
    for value in (3.0, 1.0, 2.0, 0.0, 4.0, 2.5, 0.5, 1.5):
        point = evaluate(member, source, value)
        assert point == member.encoding.space.point(point.values)
    source.draw()
    assert visible(source, TrialState.COMPLETE) == member.trials()
    assert len(member.trials()) >= 4


def test_a_sampler_keeps_away_from_points_that_violate_a_constraint(database: Database) -> None:
    """The best values lie where the constraint is violated: a sampler that did not know it would go there."""
    found = []
    for is_told in (False, True):
        member = search(database, "tpe", name=f"told-{is_told}")
        source = member.source()
        for _ in range(60):
            draft = source.draw()
            claimed = member.claims.claim(draft.candidate)
            source.release(draft)
            if isinstance(claimed, Claimed):
                x = float(claimed.point.values["x"])
                member.tell(claimed, x, constraints={"c": 0.5 - x} if is_told else {})
        late = [trial.params["x"] for trial in member.trials()[30:]]
        found.append(sum(x >= 0.5 for x in late) / len(late))
    without, constrained = found
    assert constrained > without + 0.3, found


@pytest.mark.parametrize("sampler", DRAWN)
def test_values_make_a_difference_exactly_to_samplers_that_learn(database: Database, sampler: str) -> None:
    if missing_packages(sampler):
        return
    drawn = []
    for sign in (1, -1):
        member = search(database, sampler, name=f"{sampler}{sign}")
        source = member.source()
        assert source.learns is SAMPLERS[sampler].learns
        drawn.append([evaluate(member, source, sign * value).key for value in range(16)])
    assert (drawn[0] != drawn[1]) == SAMPLERS[sampler].learns


@pytest.mark.parametrize("sampler", ["cmaes", "nsgaii", "nsgaiii"])
def test_what_a_sampler_writes_on_its_draft_reaches_the_trial(database: Database, sampler: str) -> None:
    member = search(database, sampler)
    source = member.source()
    for value in (3.0, 1.0, 2.0, 0.0):
        evaluate(member, source, value)
    draft = source.draw()
    # It may draw what is there already.
    while not isinstance(claimed := member.claims.claim(draft.candidate), Claimed):
        source.release(draft)
        draft = source.draw()
    assert draft.candidate.attributes
    assert member.trial(claimed.number).system_attrs == draft.candidate.attributes


def test_a_grid_is_walked_and_not_drawn(database: Database) -> None:
    source = search(database, "grid", space=MIXED).source()
    assert not source.samples
    fixed: dict[str, Any] = {"size": 3, "rate": 0.6, "kind": True}
    assert source.complete(fixed, 7).candidate.point.values == fixed
    with pytest.raises(ValueError, match="no value for rate"):
        source.complete({"size": 3, "kind": True}, 7)


# Drafts


def test_a_draft_is_running_for_later_draws_until_it_is_released(database: Database) -> None:
    source = search(database, "random").source()
    drafts = [source.draw() for _ in range(3)]
    seen = visible(source, TrialState.RUNNING)
    assert [trial.params for trial in seen] == [dict(draft.candidate.point.values) for draft in drafts]
    assert [trial.number for trial in seen] == [0, 1, 2]
    for draft in drafts:
        source.release(draft)
        source.release(draft)
    last = source.draw()
    seen = visible(source, TrialState.RUNNING)
    assert [trial.params for trial in seen] == [dict(last.candidate.point.values)]


def test_only_a_draw_waits_for_a_draw(database: Database) -> None:
    # The event loop calls the other methods, and a draw may take seconds.
    source = search(database, "random").source()
    draft = source.draw()

    def use() -> None:
        source.release(draft)
        source.uniform()

    with source._lock:
        using = threading.Thread(target=use, daemon=True)
        using.start()
        using.join(60)
        assert not using.is_alive()


def test_threads_that_draw_at_once_draw_drafts_of_their_own(database: Database) -> None:
    source = search(database, "tpe").source()
    drafts = at_once(*[source.draw] * 6)
    assert len({draft.draft_id for draft in drafts}) == 6
    assert len({draft.candidate.point.key for draft in drafts}) == 6
    assert len(visible(source, TrialState.RUNNING)) == 6


def test_an_enqueued_trial_keeps_what_it_fixes_and_the_sampler_adds_the_rest(database: Database) -> None:
    source = search(database, "nsgaii", space=MIXED).source()
    candidate = source.complete({"size": 3, "kind": True}, 7).candidate
    values = candidate.point.values
    assert (values["size"], values["kind"], set(values)) == (3, True, {"size", "rate", "kind"})
    assert (candidate.origin, candidate.waiting_trial) == (Origin.ENQUEUED, 7)
    assert "fixed_params" not in candidate.attributes
    assert source.draw().candidate.waiting_trial is None


@pytest.mark.parametrize("fixed", [{"size": 99}, {"kind": "c"}, {"rate": 0.5}, {"size": None}, {"size": "x"}])
def test_an_enqueued_trial_that_does_not_fit_is_refused_and_leaves_no_draft(
    database: Database, fixed: dict[str, Any]
) -> None:
    source = search(database, "random", space=MIXED).source()
    with pytest.raises(ValueError, match=next(iter(fixed)) + r"|not in|Fixed|cast|convert|[Ii]nvalid"):
        source.complete(fixed, 7)
    assert visible(source, TrialState.RUNNING) == []


# Streams


def draws(database: Database, sampler: str, seed: int, host: str, incarnation: str) -> list[str]:
    """Of a host that begins in a study without a told trial."""
    member = search(database, sampler, seed=seed, name=f"study-{next(STUDIES)}", host=host)
    source = member.source(incarnation)
    return [source.draw().candidate.point.key for _ in range(4)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsgaii", "nsgaiii"])
def test_a_stream_comes_from_seed_host_and_incarnation(database: Database, sampler: str) -> None:
    streams = [
        draws(database, sampler, seed, host, incarnation)
        for seed, host, incarnation in itertools.product((1, 2), ("h1", "h2"), ("i1", "i2"))
    ]
    points = [key for stream in streams for key in stream]
    assert len(set(points)) == len(points)
    assert draws(database, sampler, 2, "h2", "i2") == streams[-1]


def test_uniform_points_have_such_a_stream_too(database: Database) -> None:
    member = search(database, "tpe", space=CONTINUOUS)

    def uniform(incarnation: str) -> list[str]:
        source = member.source(incarnation)
        return [source.uniform().point.key for _ in range(3)]

    assert uniform("i1") == uniform("i1")
    assert set(uniform("i1")).isdisjoint(uniform("i2"))


def test_quasi_random_points_are_one_sequence_over_hosts_and_restarts(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        hosts = [search(db, "qmc", host=f"h{n}") for n, db in enumerate([first, second])]
        sources = [host.source() for host in hosts]
        points = [
            evaluate(host, source) for _ in range(6) for host, source in zip(hosts, sources, strict=True)
        ]
        restarted = search(first, "qmc", host="h0")
        source = restarted.source()
        points += [evaluate(restarted, source) for _ in range(4)]
        assert len({point.key for point in points}) == 16
        alone = search(first, "qmc", name="alone")
        its_source = alone.source()
        sequence = [evaluate(alone, its_source) for _ in range(16)]
        # The first point is drawn beside the sequence.
        assert [point.key for point in points[1:]] == [point.key for point in sequence[1:]]


def test_hosts_that_begin_a_quasi_random_search_at_once_begin_with_different_points(
    database: Database,
) -> None:
    hosts = [search(database, "qmc", host=f"h{n}", space=PLANE) for n in range(3)]
    assert len({host.source().draw().candidate.point.key for host in hosts}) == 3


def test_beside_hyperband_a_sampler_learns_only_from_trials_of_its_bracket(database: Database) -> None:
    table = '[pruner]\nname = "hyperband"\nmax_resource = 9'
    member = join(database, make_experiment(f'[sampler]\nname = "tpe"\n{table}', space=PLANE))
    source = member.source()
    for value in (3.0, 1.0, 2.0, 0.0, 4.0, 2.5):
        evaluate(member, source, value)
    study = source._study
    assert study is not None
    assert isinstance(study.pruner, HyperbandPruner)
    brackets = [study.pruner._get_bracket_id(study, trial) for trial in member.trials()]
    assert len(set(brackets)) > 1
    seen = _filter_study(study, member.trials()[0]).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    assert [trial.number for trial in seen] == [n for n, each in enumerate(brackets) if each == brackets[0]]
    source.follow(None)
    source.draw()
    assert isinstance(study.pruner, NopPruner)
