"""The socket shows what is in the database, and what Optuna itself says of it."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import time

import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import update

from tests.factories import statements
from tests.integration.storage.queries.worlds import World, a_bit_of_everything, trial_of
from tuned.domain.states import StudyState
from tuned.errors import NotFound
from tuned.storage.queries import experiments
from tuned.storage.studies import set_state
from tuned.storage.tables.schema import UID_ATTRIBUTE, study_system_attributes, t_study

# Counts


def test_each_trial_is_counted_once_by_what_became_of_it(world: World) -> None:
    a_bit_of_everything(world)
    with world.optuna() as study:
        study.enqueue_trial({"size": 9})
        study.add_trial(create_trial(state=TrialState.PRUNED))
    [summary] = experiments.summaries(world.database, None)
    assert summary["counts"] == {
        "complete": 3, "reused": 1, "failed": 2, "skipped": 1, "pruned": 1, "running": 1, "waiting": 1,
    }  # fmt: skip


def test_counts_are_split_by_the_host_that_did_each_trial(world: World) -> None:
    odd = '", "msg": "COMPLETE'
    one, other = a_bit_of_everything(world), world.search(host=odd)
    other.evaluate(8, 0.5)
    other.draw(8)
    with world.optuna() as study:
        study.add_trial(trial_of(9, 0.5, user_attrs={"HOST": math.nan}))
        study.enqueue_trial({"size": 9})
    view = experiments.experiment(world.database, "exp")
    by_host = {each["host"]: each["counts"] for each in view["hosts"]}
    assert (by_host[odd]["complete"], by_host[odd]["reused"], by_host[None]["complete"]) == (1, 1, 1)
    assert set(by_host) == {one.claimant.host, odd, None}
    for count in ("complete", "reused", "failed", "skipped", "running"):
        assert sum(each[count] for each in by_host.values()) == view["summary"]["counts"][count]


def test_a_host_that_is_named_like_a_duplicate_is_none(world: World) -> None:
    search = world.search(host='", "msg": "COMPLETE')
    search.evaluate(1, 0.5)
    [summary] = experiments.summaries(world.database, None)
    assert (summary["counts"]["complete"], summary["counts"]["reused"]) == (1, 0)


# Experiments

TEXTS = {"one": "", "two": 'directions = ["minimize", "maximize"]'}


def test_a_summary_has_the_budget_and_what_was_charged(world: World) -> None:
    text = "[budget]\ntrials = 10\nevaluations = 8\ntime = 3600"
    search = world.search(text=text)
    before = time.time()
    search.evaluate(1, 0.5)
    search.draw(1)
    search.draw(2)
    [summary] = experiments.summaries(world.database, [search.study_id])
    assert (summary["trials"], summary["trials_limit"]) == (3, 10)
    assert (summary["evaluations"], summary["evaluations_limit"]) == (2, 8)
    assert (summary["visited"], summary["space_size"]) == (1, 9 * 6 * 3)
    assert (summary["name"], summary["state"], summary["directions"]) == ("exp", "open", ["minimize"])
    assert summary["seconds_left"] is not None
    assert summary["started"] is not None
    assert 3500 < summary["seconds_left"] < 3600
    assert math.isclose(dt.datetime.fromisoformat(summary["started"]).timestamp(), before, abs_tol=60)


def test_the_time_that_is_left_is_all_before_the_first_claim_and_never_negative(world: World) -> None:
    search = world.search(text="[budget]\ntime = 3600")
    [summary] = experiments.summaries(world.database, None)
    assert (summary["seconds_left"], summary["started"]) == (3600.0, None)
    with world.database.transaction() as connection:
        connection.execute(update(t_study).values(first_claim=1.0))
    [summary] = experiments.summaries(world.database, [search.study_id])
    assert summary["seconds_left"] == 0.0


def test_the_best_of_each_experiment_is_its_own(world: World) -> None:
    for n, best in enumerate([2.0, 1.0, 3.0]):
        search = world.search(f"exp{n}", f'direction = "{["minimize", "maximize"][n % 2]}"')
        search.evaluate(1 + n, best)
        search.evaluate(5 + n, best + (1 if n % 2 == 0 else -1))
    bests = [
        (s["name"], s["best"] and s["best"]["values"]) for s in experiments.summaries(world.database, None)
    ]
    assert bests == [("exp0", [2.0]), ("exp1", [1.0]), ("exp2", [3.0])]


def test_what_is_not_there_is_missing_from_the_summaries(world: World) -> None:
    search = world.search()
    assert len(experiments.summaries(world.database, [search.study_id, 999])) == 1
    assert experiments.summaries(world.database, []) == []


def test_an_experiment_shows_its_state_definition_and_sampler(world: World) -> None:
    text = '[sampler]\nname = "tpe"\nseed = 42\nn_startup_trials = 5'
    search = world.search(text=text)
    set_state(world.database, search.study_id, StudyState.PAUSED)
    view = experiments.experiment(world.database, "exp")
    assert view["sampler"] == {"name": "tpe", "seed": 42, "options": {"n_startup_trials": 5}}
    assert view["summary"]["state"] == "paused"
    assert view["definition"]["name"] == "exp"


def test_an_experiment_shows_its_five_newest_failures_but_no_skipped_trial(world: World) -> None:
    search = world.search()
    # Crashes that are alike pause a study until it has a value.
    search.evaluate(8, 0.5)
    for size in range(1, 8):
        search.evaluate(size)
    search.draw(8)
    failures = experiments.experiment(world.database, "exp")["failures"]
    assert [view["number"] for view in failures] == [7, 6, 5, 4, 3]


def test_an_experiment_is_found_by_its_name(world: World) -> None:
    searches = [world.search(name) for name in ("one", "two")]
    assert [experiments.find(world.database, name) for name in ("one", "two")] == [
        s.study_id for s in searches
    ]
    assert experiments.outputs_of(world.database, searches[0].study_id) == ("one", searches[0].uid)


def test_who_asks_for_what_is_not_there_learns_what_is_near(world: World) -> None:
    with pytest.raises(NotFound, match="none in the database"):
        experiments.find(world.database, "minima")
    for name in ("minima", "maxima", "other"):
        world.search(name)
    with pytest.raises(NotFound, match=r"cannot find experiment minimal: known are minima, maxima$"):
        experiments.find(world.database, "minimal")
    with pytest.raises(NotFound, match=r"known are minima, maxima, other$"):
        experiments.experiment(world.database, "xyz")


def test_a_study_that_tuned_did_not_join_is_no_experiment(world: World) -> None:
    with world.optuna("foreign"):
        pass
    assert experiments.summaries(world.database, None) == []
    with pytest.raises(NotFound):
        experiments.find(world.database, "foreign")


def test_what_a_deleted_study_left_is_not_taken_for_its_successor(world: World) -> None:
    search = world.search()
    with world.database.transaction() as connection:
        other = update(study_system_attributes).where(study_system_attributes.c.key == UID_ATTRIBUTE)
        connection.execute(other.values(value_json='"other"'))
    assert experiments.summaries(world.database, None) == []
    for ask in (
        lambda: experiments.find(world.database, "exp"),
        lambda: experiments.outputs_of(world.database, search.study_id),
    ):
        with pytest.raises(NotFound):
            ask()


def test_the_number_of_statements_does_not_grow_with_what_is_there(world: World) -> None:
    counts: list[list[int]] = []
    for n in (1, 3):
        for each in range(n):
            one, two = (world.search(f"{kind}-{n}-{each}", TEXTS[kind]) for kind in ("one", "two"))
            for size in range(1, 1 + n):
                one.evaluate(size, 0.5)
                two.evaluate(size, size, -size)
        with statements(world.database) as seen:
            marks = [0]
            for ask in (
                lambda: experiments.summaries(world.database, None),
                lambda: experiments.experiment(world.database, "one-1-0"),
                lambda: experiments.trials(world.database, 1, state=None, before=None, limit=1000),
                lambda: experiments.best(world.database, 2),
            ):
                assert ask()
                marks.append(len(seen))
        counts.append([after - before for before, after in itertools.pairwise(marks)])
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 16
