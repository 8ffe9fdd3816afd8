"""A sampler knows of a study what Optuna itself would tell it, and only what is new costs anything."""

from __future__ import annotations

import math
import random
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import update

from tests.factories import (
    Member,
    at_once,
    join,
    kill,
    line,
    make_experiment,
    opened,
    plain_optuna,
    statements,
)
from tests.forgetting import forgotten
from tuned.domain.claim import Claimed
from tuned.domain.result import Result, TellOutcome
from tuned.storage.database import Database
from tuned.storage.history import History
from tuned.storage.tables.schema import trial_params, trial_user_attributes
from tuned.storage.trials.settling import settle_orphans
from tuned.storage.trials.tells import tell

DETAILS = ("trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes",
           "trial_system_attributes")  # fmt: skip


def history_of(database: Database, study: optuna.Study) -> History:
    return History(database, study._study_id, objectives=len(study.directions))


def fields(trial: FrozenTrial) -> dict[str, Any]:
    # As text, because NaN is not equal to itself. The order of attributes says nothing.
    return {
        name: repr(sorted(value.items()) if "attrs" in name else value) for name, value in vars(trial).items()
    }


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
        history = history_of(database, study)
        for _ in range(4):
            study.add_trials([arbitrary(generator) for _ in range(5)])
            assert same(history, study)


def test_a_history_follows_a_trial_through_its_states(database: Database) -> None:
    member = join(database, make_experiment())
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 5}, user_attrs={"why": "a guess"})
        history = member.history()
        assert same(history, study)
        claimed = member.take(5, waiting=member.now().waiting[0])
        assert same(history, study)
        member.take(6)
        member.tell(claimed, 0.5, intermediate={1: math.nan})
        assert same(history, study)


def test_a_history_has_what_plain_optuna_told_after_it_was_read(database: Database) -> None:
    with plain_optuna(database) as study:
        history = history_of(database, study)
        trial = study.ask()
        assert same(history, study)
        trial.suggest_int("x", 0, 8)
        trial.report(0.5, 1)
        study.tell(trial, 0.25)
        assert same(history, study)


def test_several_objectives_are_those_that_optuna_says(database: Database) -> None:
    with plain_optuna(database, directions=["minimize", "maximize", "minimize"]) as study:
        study.add_trial(create_trial(values=[1.0, -math.inf, 3.0]))
        assert same(history_of(database, study), study)


def test_a_history_misses_no_trial_that_others_write_while_it_is_read(prepared_url: str) -> None:
    with opened(prepared_url) as first, opened(prepared_url) as second:
        hosts = [join(db, make_experiment(space=line(30)), f"h{n}") for n, db in enumerate([first, second])]

        def claim(host: Member, points: range) -> None:
            for x in points:
                host.evaluate(x, 0.5)

        def theirs() -> None:
            with plain_optuna(first) as study:
                for _ in range(4):
                    study.tell(study.ask(), 0.5)

        history = hosts[1].history()

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
    history = member.history()
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
    history = member.history()
    history.sync()
    finished, before = history.trials
    history.sync()
    assert (history.trials[0], history.trials[1]) == (finished, before)
    assert history.trials[1] is before
    member.tell(running, 0.5)
    history.sync()
    assert history.trials[0] is finished
    assert history.trials[1].state is TrialState.COMPLETE


def test_the_constraints_of_all_trials_are_in_one_order(database: Database) -> None:
    member = join(database, make_experiment())
    member.tell(member.take(1), 0.5, constraints={"b": 1.0, "a": 2.0})
    member.tell(member.take(2), 0.5, constraints={"a": 3.0, "b": 4.0})
    history = member.history()
    history.sync()
    assert [list(trial.constraints.values()) for trial in history.trials] == [[2.0, 1.0], [3.0, 4.0]]


def test_the_last_number_is_the_highest_given(database: Database) -> None:
    member = join(database, make_experiment())
    history = member.history()
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
    history = member.history()
    for _ in range(2):
        history.sync()
        assert [trial.number for trial in history.trials] == [0, 3]
    member.evaluate(8, 0.5)
    history.sync()
    assert [trial.number for trial in history.trials] == [0, 3, 4]


# Trials of this host


def take(member: Member, history: History, x: int) -> Claimed:
    """Claims a point as a host does that notes it."""
    claimed = member.take(x)
    history.note_begun(member.encoding.beginning(claimed), member.claimant.host)
    return claimed


def end(member: Member, history: History, claimed: Claimed, value: float) -> Result:
    result = member.result(claimed, value)
    history.note_ended(result.claim_id, result.ending)
    return result


def test_nothing_is_read_back_that_was_noted(database: Database) -> None:
    member = join(database, make_experiment(space=line(20)))
    history = member.history()
    history.sync()
    for x in range(6):
        claimed = take(member, history, x)
        if x % 2:
            history.sync()
        tell(database, end(member, history, claimed, 0.5))
        with statements(database) as seen:
            history.sync()
        assert len([each for each in seen if each != "BEGIN"]) <= 2
        assert not any(f"FROM {table}" in each for each in seen for table in DETAILS)
        assert history.trials[-1].values == [0.5]
    assert (history._begun, history._ended, len(history._notes)) == ({}, {}, 0)


def test_trials_of_others_come_in_between_in_the_order_of_their_numbers(database: Database) -> None:
    member = join(database, make_experiment(space=line(20)))
    other = join(database, member.experiment, "h2")
    history = member.history()
    theirs = other.take(0)
    mine = take(member, history, 1)
    other.evaluate(2, 0.5)
    end(member, history, mine, 0.25)
    history.sync()
    assert [trial.params["x"] for trial in history.trials] == [0, 1, 2]
    assert [trial.state.name for trial in history.trials] == ["RUNNING", "COMPLETE", "COMPLETE"]
    other.tell(theirs, 0.75)
    history.sync()
    assert [trial.value for trial in history.trials] == [0.75, 0.25, 0.5]


def test_the_database_has_the_last_word_on_a_trial_that_has_ended_here(database: Database) -> None:
    member = join(database, make_experiment(space=line(20)))
    history = member.history()
    result = end(member, history, take(member, history, 1), 0.25)
    history.sync()
    assert history.trials[0].value == 0.25
    kill(database, member.claimant)
    settle_orphans(database, member.status.study_id)
    assert tell(database, result) is TellOutcome.LATE
    with plain_optuna(database) as study:
        assert same(history, study)
        assert [trial.state.name for trial in history.trials] == ["FAIL", "COMPLETE"]


def test_an_enqueued_trial_that_has_ended_here_keeps_what_its_program_wrote(database: Database) -> None:
    member = join(database, make_experiment())
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 5}, user_attrs={"why": "a guess"})
        claimed = member.take(5, waiting=member.now().waiting[0])
        history = member.history()
        end(member, history, claimed, 0.5)
        history.sync()
        (trial,) = history.trials
        assert (trial.value, trial.user_attrs["why"]) == (0.5, "a guess")
        member.tell(claimed, 0.5)
        assert same(history, study)


def test_a_history_follows_a_database_that_forgets_and_gives_ids_again(prepared_url: str) -> None:
    with opened(prepared_url) as database:
        member = join(database, make_experiment(space=line(20)))
        history = member.history()
        tell(database, end(member, history, take(member, history, 0), 0.5))
        with forgotten(database):
            result = end(member, history, take(member, history, 1), 0.25)
            tell(database, result)
            end(member, history, take(member, history, 2), 0.125)
            history.sync()
            assert [trial.value for trial in history.trials] == [0.5, 0.25, 0.125]
        other = join(database, member.experiment, "h2")
        for x in range(3, 7):
            other.take(x)
        with plain_optuna(database) as study:
            assert same(history, study)
            assert tell(database, result) is TellOutcome.RENEWED
            assert same(history, study)
            assert [trial.value for trial in history.trials if trial.value] == [0.5, 0.25]


def test_notes_that_nobody_reads_take_bounded_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuned.storage.history.MOST_NOTES", 3)
    member = join(database, make_experiment(space=line(20)))
    history = member.history()
    for x in range(5):
        tell(database, end(member, history, take(member, history, x), 0.5))
    assert len(history._notes) == 3
    with plain_optuna(database) as study:
        assert same(history, study)
