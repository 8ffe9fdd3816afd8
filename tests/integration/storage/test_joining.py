"""Studies of plain Optuna become ours, with the points that they have evaluated already."""

from __future__ import annotations

import functools
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tests.factories import CONDITIONAL, MIXED, at_once, join, line, make_experiment, opened, plain_optuna
from tests.integration.storage.steps import keys, open_it
from tuned.domain.claim import Claimed
from tuned.errors import Conflict
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over


def test_plain_optuna_sees_a_new_study_with_its_directions(database: Database) -> None:
    open_it(database, make_experiment('directions = ["maximize", "minimize"]'))
    with plain_optuna(database, directions=["maximize", "minimize"]) as study:
        assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_hosts_that_open_a_study_at_once_open_one(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        experiment = make_experiment()
        found = at_once(*(functools.partial(open_it, db, experiment) for db in [first, second] * 3))
        assert [status == found[0] for status in found] == [True] * 6


@pytest.mark.parametrize("is_new", [True, False])
def test_another_direction_is_refused(database: Database, is_new: bool) -> None:
    open_it(database, make_experiment())
    with pytest.raises(Conflict, match=r"directions are \['maximize'\] here and \['minimize'\] in the data"):
        open_it(database, make_experiment('direction = "maximize"'), is_new=is_new)


def complete(value: float = 0.5, **params: Any) -> Any:
    """A trial of plain Optuna in the space of MIXED."""
    distributions = {
        "size": IntDistribution(1, 9),
        "rate": FloatDistribution(0.0, 1.0, step=0.2),
        "kind": CategoricalDistribution(["a", "b", True]),
    }
    return create_trial(
        params=params, distributions={name: distributions[name] for name in params}, value=value
    )


def test_the_complete_trials_of_a_joined_study_are_points_that_are_done(database: Database) -> None:
    with plain_optuna(database) as study:
        study.add_trial(complete(0.25, size=3, rate=0.6000000000000001, kind=True))
        study.add_trial(complete(0.75, size=3, rate=0.6000000000000001, kind=True))
        study.add_trial(complete(size=4, rate=0.0, kind="a"))
    member = join(database, make_experiment(space=MIXED))
    assert (member.now().visited, member.now().trials) == (2, 0)
    duplicate = member.repeat(size=3, rate=0.6, kind=True)
    assert (duplicate.twin.number, duplicate.values) == (0, (0.25,))
    assert isinstance(member.draw(size=3, rate=0.6, kind="b"), Claimed)


def test_what_plain_optuna_suggests_in_our_space_is_our_point(database: Database) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_int("size", 1, 9)
        trial.suggest_categorical("kind", ["a", "b", True])
        return trial.suggest_float("rate", 0.0, 1.0, step=0.2)

    with plain_optuna(database) as study:
        study.sampler = optuna.samplers.RandomSampler(seed=1)
        study.optimize(objective, n_trials=20)
        params = [trial.params for trial in study.trials]
    member = join(database, make_experiment(space=MIXED))
    assert keys(member) == {member.point(**values).key for values in params}


@pytest.mark.parametrize(
    "params",
    [{"size": 3, "rate": 0.6}, {}],
    ids=["fewer parameters", "none"],
)
def test_a_trial_without_exactly_our_parameters_is_only_history(
    database: Database, params: dict[str, Any]
) -> None:
    with plain_optuna(database) as study:
        study.add_trial(complete(**params))
    member = join(database, make_experiment(space=MIXED))
    assert (member.now().visited, len(member.trials())) == (0, 1)


@pytest.mark.parametrize(
    ("distributions", "params"),
    [
        ({"x": IntDistribution(0, 20)}, {"x": 5}),
        ({"x": IntDistribution(0, 8, step=2)}, {"x": 4}),
        ({"x": IntDistribution(0, 8), "more": IntDistribution(0, 1)}, {"x": 5, "more": 1}),
    ],
    ids=["range", "step", "one parameter more"],
)
def test_a_trial_of_another_range_or_with_more_parameters_is_only_history(
    database: Database, distributions: dict[str, Any], params: dict[str, Any]
) -> None:
    with plain_optuna(database) as study:
        study.add_trial(create_trial(params=params, distributions=distributions, value=0.5))
    member = join(database, make_experiment())
    assert (member.now().visited, len(member.trials())) == (0, 1)
    assert isinstance(member.draw(params["x"]), Claimed)


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING])
def test_a_trial_of_plain_optuna_that_is_not_complete_takes_no_point(
    database: Database, state: TrialState
) -> None:
    with plain_optuna(database) as study:
        trial = study.ask({"x": IntDistribution(0, 8)})
        if state is not TrialState.RUNNING:
            study.tell(trial, state=state)
    member = join(database, make_experiment())
    assert (member.now().visited, member.now().held) == (0, 0)
    assert isinstance(member.draw(trial.params["x"]), Claimed)
    assert member.trial(0).state is state


@pytest.mark.parametrize(
    ("theirs", "value", "refusal"),
    [
        (FloatDistribution(0.0, 8.0), 5.0, "x is IntDistribution.* here and FloatDistribution.* in the data"),
        (IntDistribution(1, 8, log=True), 5, "x is IntDistribution.*log=False.* here and .*log=True"),
        (CategoricalDistribution([1, 5]), 5, "x is IntDistribution.* here and CategoricalDistribution"),
    ],
    ids=["type", "log", "categorical"],
)
def test_a_study_with_a_parameter_of_ours_in_another_kind_is_refused_and_left_alone(
    database: Database, theirs: Any, value: Any, refusal: str
) -> None:
    with plain_optuna(database) as study:
        study.add_trial(create_trial(params={"x": value}, distributions={"x": theirs}, value=0.5))
    with pytest.raises(Conflict, match=refusal):
        open_it(database, make_experiment())
    with plain_optuna(database) as study:
        assert study._storage.get_study_system_attrs(study._study_id) == {}


def test_a_joined_study_that_is_complete_already_is_over(database: Database) -> None:
    with plain_optuna(database) as study:
        for x in range(2):
            trial = create_trial(params={"x": x}, distributions={"x": IntDistribution(0, 1)}, value=0.5)
            study.add_trial(trial)
    status = open_it(database, make_experiment(space=line(2)))
    assert status.is_over
    assert close_if_over(database, status.study_id)


def test_the_allowed_trials_of_a_define_by_run_objective_are_points_that_are_done(database: Database) -> None:
    experiment = make_experiment(space=CONDITIONAL)
    forbidden = {"optimizer": "adam", "size": 5, "decay": "fast"}
    with plain_optuna(database) as study:
        for values in [forbidden, *(experiment.space.at(index).values for index in range(11))]:
            study.enqueue_trial(dict(values))
        study.optimize(_define_by_run, n_trials=12)
        assert study.trials[0].params == forbidden
    member = join(database, experiment)
    assert member.now().visited == experiment.space.size
    assert close_if_over(database, member.status.study_id)


def _define_by_run(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
        return trial.suggest_float("momentum", 0.0, 0.2, step=0.1)
    if (size := trial.suggest_int("size", 1, 5)) >= 2:
        return float(trial.suggest_categorical("decay", ["slow", "fast"]) == "fast")
    return float(size)
