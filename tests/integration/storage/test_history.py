"""What a sampler knows of a study is what Optuna itself would tell it, and costs only what is new."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import update

from tests.factories import Member, at_once, join, line, make_experiment, opened, plain_optuna, statements
from tuned.storage.database import Database
from tuned.storage.history import History
from tuned.storage.tables.schema import trial_params, trial_user_attributes


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


def fields(trial: FrozenTrial) -> dict[str, Any]:
    # As text, because NaN is not equal to itself.
    return {name: repr(value) for name, value in vars(trial).items()}


def same(history: History, study: optuna.Study) -> bool:
    history.sync()
    theirs = study._storage.get_all_trials(study._study_id)
    assert [fields(trial) for trial in history.trials] == [fields(trial) for trial in theirs]
    return bool(theirs)


def arbitrary(generator: random.Random) -> FrozenTrial:
    """A trial as plain Optuna may have it: any state, any parameters, any attributes."""
    distributions = {
        "int": IntDistribution(-5, 5),
        "log": IntDistribution(1, 1000, log=True),
        "step": FloatDistribution(0.0, 1.0, step=0.1),
        "float": FloatDistribution(1e-9, 1e9, log=True),
        "kind": CategoricalDistribution([None, True, 1, 1.5, "é", ""]),
        "one": CategoricalDistribution(["only"]),
    }
    used = generator.sample(sorted(distributions), generator.randrange(len(distributions)))
    params = {
        "int": generator.randint(-5, 5), "log": generator.randint(1, 1000),
        "step": generator.randint(0, 10) * 0.1, "float": 10 ** generator.uniform(-8, 8),
        "kind": generator.choice([None, True, 1.5, "é", ""]), "one": "only",
    }  # fmt: skip
    state = generator.choice(list(TrialState))
    special = [0.0, -0.0, math.inf, -math.inf, 5e-324, 0.1 + 0.2]
    return create_trial(
        state=state,
        value=generator.choice(special) if state is TrialState.COMPLETE else None,
        params={name: params[name] for name in used},
        distributions={name: distributions[name] for name in used},
        intermediate_values={
            n: generator.choice([*special, math.nan]) for n in range(generator.randrange(4))
        },
        user_attrs={"note": generator.choice([None, [1, {"a": "ü"}], math.inf])},
        system_attrs={f"s{n}": n for n in range(generator.randrange(3))},
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_history_is_what_optuna_says_of_an_arbitrary_study(database: Database, seed: int) -> None:
    generator = random.Random(seed)
    with plain_optuna(database) as study:
        history = History(database, study._study_id)
        for _ in range(4):
            study.add_trials([arbitrary(generator) for _ in range(5)])
            assert same(history, study)


def test_a_history_follows_a_trial_through_its_states(database: Database) -> None:
    member = join(database, make_experiment())
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 5}, user_attrs={"why": "a guess"})
        history = History(database, member.status.study_id)
        assert same(history, study)
        claimed = member.take(5, waiting=member.now().waiting[0])
        assert same(history, study)
        member.take(6)
        member.tell(claimed, 0.5, intermediate={1: math.nan})
        assert same(history, study)


def test_a_history_has_what_plain_optuna_told_after_it_was_read(database: Database) -> None:
    with plain_optuna(database) as study:
        history = History(database, study._study_id)
        trial = study.ask()
        assert same(history, study)
        trial.suggest_int("x", 0, 8)
        trial.report(0.5, 1)
        study.tell(trial, 0.25)
        assert same(history, study)


def test_several_objectives_are_those_that_optuna_says(database: Database) -> None:
    with plain_optuna(database, directions=["minimize", "maximize", "minimize"]) as study:
        study.add_trial(create_trial(values=[1.0, -math.inf, 3.0]))
        assert same(History(database, study._study_id), study)


def test_a_history_misses_no_trial_that_others_write_while_it_is_read(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        hosts = [join(db, make_experiment(space=line(30)), f"h{n}") for n, db in enumerate([first, second])]

        def claim(host: Member, points: range) -> None:
            for x in points:
                host.evaluate(x, 0.5)

        def theirs() -> None:
            with plain_optuna(first) as study:
                for _ in range(4):
                    study.tell(study.ask(), 0.5)

        history = History(second, hosts[1].status.study_id)

        def read() -> None:
            for _ in range(20):
                history.sync()

        at_once(lambda: claim(hosts[0], range(8)), lambda: claim(hosts[1], range(8, 16)), theirs, read)
        with plain_optuna(second) as study:
            assert same(history, study)
            assert [trial.number for trial in history.trials] == list(range(20))


def cost(history: History) -> int:
    with statements(history._database) as seen:
        history.sync()
    return len(seen)


def test_a_sync_costs_what_is_new_however_many_trials_there_are(database: Database) -> None:
    member = join(database, make_experiment(space=line(40)))
    history = History(database, member.status.study_id)
    costs = []
    for size in (1, 30):
        for x in range(size):
            member.evaluate(len(history.trials) + x, 0.5)
        history.sync()
        idle = cost(history)
        member.evaluate(39 - size % 2, 0.5)
        costs.append((idle, cost(history)))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 2


def test_finished_trials_are_never_read_again_and_running_ones_only_when_they_end(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    running = member.take(2)
    history = History(database, member.status.study_id)
    history.sync()
    finished, before = history.trials
    history.sync()
    assert (history.trials[0], history.trials[1]) == (finished, before)
    assert history.trials[1] is before
    member.tell(running, 0.5)
    history.sync()
    assert history.trials[0] is finished
    assert history.trials[1].state is TrialState.COMPLETE


def test_the_last_number_is_the_highest_given(database: Database) -> None:
    member = join(database, make_experiment())
    history = History(database, member.status.study_id)
    history.sync()
    assert history.last_number == -1
    claims = [member.take(x) for x in range(3)]
    history.sync()
    member.tell(claims[0], 0.5)
    history.sync()
    assert history.last_number == 2


def test_a_trial_that_cannot_be_understood_is_left_out(database: Database) -> None:
    member = join(database, make_experiment())
    odd = [member.evaluate(x, 0.5).trial_id for x in range(4)][1:3]
    with database.transaction() as connection:
        its = trial_params.c.trial_id == odd[0]
        connection.execute(update(trial_params).where(its).values(distribution_json="{oops"))
        its = trial_user_attributes.c.trial_id == odd[1]
        connection.execute(update(trial_user_attributes).where(its).values(value_json="{oops"))
    history = History(database, member.status.study_id)
    for _ in range(2):
        history.sync()
        assert [trial.number for trial in history.trials] == [0, 3]
    member.evaluate(8, 0.5)
    history.sync()
    assert [trial.number for trial in history.trials] == [0, 3, 4]
