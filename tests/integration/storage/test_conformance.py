"""tuned writes what plain Optuna would have written, which reads it back field by field."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from tests.factories import MIXED, Member, join, make_experiment, opened, plain_optuna
from tuned.storage.database import Database
from tuned.storage.tables import schema

#: Of all kinds, with a stepped float that plain Optuna writes as 0.6000000000000001.
POINT: dict[str, Any] = {"size": 3, "rate": 0.6, "kind": True}

TABLES = (
    schema.trial_params,
    schema.trial_values,
    schema.trial_intermediate_values,
    schema.trial_user_attributes,
    schema.trial_system_attributes,
)


@pytest.fixture
def database(database_url: str) -> Any:
    database = Database(database_url)
    database.prepare()
    yield database
    database.close()


def as_optuna_reads(member: Member) -> list[FrozenTrial]:
    """By a storage of its own, past every cache."""
    storage = RDBStorage(member.database.url)
    try:
        return storage.get_all_trials(member.status.study_id)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def evaluate(member: Member, *values: float, **ending: Any) -> FrozenTrial:
    claimed = member.take(**POINT, attributes={"nsga2:generation": 2})
    member.tell(claimed, *values, **ending)
    [trial] = as_optuna_reads(member)
    return trial


def test_every_field_of_a_complete_trial_is_read_back(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    reports = {0: 1.5, 7: math.inf, 9: -math.inf}
    trial = evaluate(member, 0.25, intermediate=reports)
    assert (trial.number, trial.state, trial.values) == (0, TrialState.COMPLETE, [0.25])
    assert (trial.params, trial.distributions) == (POINT, member.encoding.distributions)
    assert trial.intermediate_values == reports
    assert trial.user_attrs == {"HOST": {"host": "h1"}}
    assert trial.system_attrs == {"nsga2:generation": 2}
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    assert trial.datetime_start <= trial.datetime_complete


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1 + 0.2, 5e-324, 1.7e308])
def test_a_value_is_read_back_to_the_bit(database: Database, value: float) -> None:
    trial = evaluate(join(database, make_experiment(space=MIXED)), value)
    assert trial.values == [value]


def test_a_report_that_is_nan_is_read_back_as_nan(database: Database) -> None:
    trial = evaluate(join(database, make_experiment(space=MIXED)), 0.5, intermediate={1: math.nan})
    assert math.isnan(trial.intermediate_values[1])


def test_the_values_of_several_objectives_keep_their_order(database: Database) -> None:
    two = 'directions = ["minimize", "maximize"]'
    trial = evaluate(join(database, make_experiment(two, space=MIXED)), 3.5, -math.inf)
    assert trial.values == [3.5, -math.inf]


def test_a_failed_trial_is_read_back_with_its_reason_and_without_values(database: Database) -> None:
    trial = evaluate(join(database, make_experiment(space=MIXED)))
    assert (trial.state, trial.values) == (TrialState.FAIL, None)
    assert trial.user_attrs["FAILURE"] == {"cause": "exit", "message": "exit status 1", "status": 1}


def rows_of(database: Database, trial_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """The content of Optuna's tables, without ids of rows."""
    found = {}
    with database.reading() as connection:
        for table in TABLES:
            columns = [c for c in table.columns if not c.primary_key and c.name != "trial_id"]
            rows = connection.execute(select(*columns).where(table.c.trial_id == trial_id)).all()
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def test_the_rows_are_those_that_plain_optuna_writes_for_the_same_trial(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    ours = evaluate(member, math.inf, intermediate={3: 0.5, 4: math.inf})
    twin = optuna.create_trial(
        state=TrialState.COMPLETE,
        values=[math.inf],
        params=ours.params,
        distributions=ours.distributions,
        user_attrs=ours.user_attrs,
        system_attrs=ours.system_attrs,
        intermediate_values={3: 0.5, 4: math.inf},
    )
    with plain_optuna(database) as study:
        study.add_trial(twin)
    _, theirs = as_optuna_reads(member)
    assert rows_of(database, theirs._trial_id) == rows_of(database, ours._trial_id)


def test_the_times_are_those_that_plain_optuna_would_have_written(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    with plain_optuna(database) as study:
        before = study.ask()
        evaluate_between = member.take(**POINT)
        member.tell(evaluate_between, 0.5)
        after = study.ask()
    trials = as_optuna_reads(member)
    begun = [trials[n].datetime_start for n in (before.number, evaluate_between.number, after.number)]
    # Clocks and time zones of client and server must not part them.
    assert begun == sorted(begun, key=lambda time: time.timestamp() if time else 0.0)


def fields(trial: FrozenTrial) -> dict[str, Any]:
    return {name: value for name, value in vars(trial).items() if name != "_trial_id"}


def test_our_history_is_what_optuna_reads(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    member.tell(member.take(**POINT, attributes={"a": [1, {"b": None}]}), 0.5, intermediate={2: 0.1})
    member.take(size=1, rate=0.0, kind="a")
    wide: dict[str, BaseDistribution] = {"other": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)}
    with plain_optuna(database) as study:
        study.add_trial(optuna.create_trial(params={"other": 0.5}, distributions=wide, value=-math.inf))
        study.add_trial(optuna.create_trial(state=TrialState.PRUNED, intermediate_values={1: math.inf}))
        study.enqueue_trial({"size": 2}, user_attrs={"why": "a guess"})
    history = member.history()
    history.sync()
    assert [fields(t) for t in history.trials] == [fields(t) for t in as_optuna_reads(member)]


def test_what_ends_after_a_sync_is_read_with_the_next(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    claimed = member.take(**POINT)
    history = member.history()
    history.sync()
    assert [trial.state for trial in history.trials] == [TrialState.RUNNING]
    member.tell(claimed, 0.5)
    history.sync()
    assert [fields(t) for t in history.trials] == [fields(t) for t in as_optuna_reads(member)]


def test_deleting_a_study_by_plain_optuna_takes_all_that_is_ours_along(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        evaluate(join(database, make_experiment(space=MIXED)), 0.5)
        optuna.delete_study(study_name="exp", storage=database.url)
        with database.reading() as connection:
            assert connection.execute(select(schema.t_study)).all() == []
            assert connection.execute(select(schema.t_point)).all() == []


def test_plain_optuna_finds_the_best_trial(database: Database) -> None:
    member = join(database, make_experiment(space=MIXED))
    for size in (4, 2, 6):
        member.tell(member.take(size=size, rate=0.0, kind="a"), float(size))
    with plain_optuna(database) as study:
        assert (study.best_params["size"], study.best_value) == (2, 2.0)
