"""Reports of running trials reach their own rows, and those of no other trial."""

from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from sqlalchemy import delete, select

from tests.factories import CRASH, Member, at_once, join, make_experiment, opened, plain_optuna, statements
from tests.integration.storage.steps import abort, lose
from tuned.domain.claim import Claimed
from tuned.domain.ending import MOST_STEPS
from tuned.storage.database import Database
from tuned.storage.tables.schema import study_system_attributes, trials
from tuned.storage.trials.intermediate import Update, share


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment())


def update(member: Member, claimed: Claimed, **changes: Any) -> Update:
    return Update(claim_id=claimed.claim_id, study_uid=member.status.uid, **changes)


def reported(member: Member, number: int = 0) -> dict[int, float]:
    """As plain Optuna reads it."""
    with plain_optuna(member.database) as study:
        return study.get_trials()[number].intermediate_values


# Of a running trial


def test_values_of_all_trials_of_a_host_are_there_while_they_run(member: Member) -> None:
    first, second = member.take(1), member.take(2)
    found = share(
        member.database,
        [
            update(member, first, values={0: 0.5, 7: math.inf, 8: -math.inf}),
            update(member, second, values={0: math.nan}),
        ],
    )
    assert found == {first.claim_id, second.claim_id}
    assert reported(member) == {0: 0.5, 7: math.inf, 8: -math.inf}
    assert math.isnan(reported(member, 1)[0])


def test_a_step_that_is_shared_again_has_its_last_value(member: Member) -> None:
    claimed = member.take(1)
    for values in ({0: 0.5, 1: 0.25}, {0: 0.5, 1: math.inf, 2: 3.0}, {1: 4.0}):
        share(member.database, [update(member, claimed, values=values)])
    assert reported(member) == {0: 0.5, 1: 4.0, 2: 3.0}


def test_steps_that_are_no_longer_kept_are_gone(member: Member) -> None:
    claimed, other = member.take(1), member.take(2)
    everything = dict.fromkeys(range(5), 0.5)
    share(member.database, [update(member, each, values=everything) for each in (claimed, other)])
    share(member.database, [update(member, claimed, values={6: 1.0}, gone=[1, 3])])
    assert sorted(reported(member)) == [0, 2, 4, 6]
    assert sorted(reported(member, 1)) == [0, 1, 2, 3, 4]


def test_system_attributes_are_there_for_plain_optuna(member: Member) -> None:
    claimed = member.take(1)
    for rung in (0.5, 0.25):
        share(member.database, [update(member, claimed, attributes={"completed_rung_0": rung, "a": [None]})])
    with plain_optuna(member.database) as study:
        assert study.get_trials()[0].system_attrs == {"completed_rung_0": 0.25, "a": [None]}


def test_a_batch_is_few_statements_however_many_trials_it_has(member: Member) -> None:
    batch = [update(member, member.take(x), values={1: 0.5}, attributes={"a": 1}) for x in range(8)]
    with statements(member.database) as seen:
        share(member.database, batch)
    # It begins, finds the trials, and puts values and attributes.
    assert len(seen) == 4


# The fence


def test_a_trial_that_has_ended_gets_nothing(member: Member) -> None:
    told, aborted, lost = member.take(1), member.take(2), lose(member, 3)
    member.tell(told, 0.5)
    assert abort(member) == [aborted.number]
    late = [update(member, each, values={9: 9.0}, attributes={"a": 1}) for each in (told, aborted, lost)]
    assert share(member.database, late) == set()
    assert [(trial.intermediate_values, trial.system_attrs) for trial in member.trials()] == 3 * [({}, {})]


def test_a_claim_that_the_database_has_forgotten_gets_nothing(member: Member) -> None:
    forgotten = member.take(1)
    member.delete_trial(0)
    again = member.take(2)
    assert share(member.database, [update(member, forgotten, values={1: 0.5})]) == set()
    assert share(member.database, [update(member, again, values={1: 0.5})]) == {again.claim_id}


def test_a_study_that_another_program_made_anew_gets_nothing(member: Member) -> None:
    claimed = member.take(1)
    with member.database.transaction() as connection:
        connection.execute(delete(study_system_attributes))
    assert share(member.database, [update(member, claimed, values={1: 0.5})]) == set()


def test_a_trial_that_is_being_ended_is_left_out_and_not_waited_for(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        member = join(database, make_experiment())
        ending, running = member.take(1), member.take(2)
        batch = [update(member, each, values={1: 0.5}) for each in (ending, running)]
        with database.transaction() as connection:
            row = select(trials).where(trials.c.trial_id == ending.trial_id)
            connection.execute(row.with_for_update(key_share=True))
            assert share(database, batch) == {running.claim_id}


def test_a_tell_and_a_batch_at_once_come_to_the_told_values(member: Member) -> None:
    for x in range(8):
        claimed = member.take(x)
        batch = [update(member, claimed, values={0: 1.0, 1: 2.0})]
        at_once(
            lambda batch=batch: share(member.database, batch),  # type: ignore[misc]
            lambda claimed=claimed: member.tell(claimed, 0.5, intermediate={0: 1.0, 1: 2.0, 2: 3.0}),  # type: ignore[misc]
        )
    assert {len(trial.intermediate_values) for trial in member.trials()} == {3}
    assert {trial.state for trial in member.trials()} == {TrialState.COMPLETE}


# The tell after it


def test_a_tell_adds_what_was_not_shared_and_changes_what_was(member: Member) -> None:
    claimed = member.take(1)
    share(member.database, [update(member, claimed, values={0: 1.0, 1: 2.0})])
    member.tell(claimed, 0.5, intermediate={0: 1.0, 1: math.inf, 2: 3.0})
    assert reported(member) == {0: 1.0, 1: math.inf, 2: 3.0}


def test_a_tell_sets_the_system_attributes_beside_those_of_the_draw(member: Member) -> None:
    claimed = member.draw(1, attributes={"drawn": 1})
    assert isinstance(claimed, Claimed)
    share(member.database, [update(member, claimed, attributes={"completed_rung_0": 0.5})])
    member.tell(claimed, 0.5, system_attrs={"completed_rung_0": "0.5", "completed_rung_1": "0.25"})
    expected = {"drawn": 1, "completed_rung_0": 0.5, "completed_rung_1": 0.25}
    assert member.trials()[0].system_attrs == expected


def test_values_of_an_earlier_attempt_do_not_stay(member: Member) -> None:
    claimed = member.take(1)
    share(member.database, [update(member, claimed, values={0: 1.0, 1: 2.0, 2: 3.0})])
    member.tell(claimed, 0.5, intermediate={0: 5.0}, retried=(CRASH,))
    assert reported(member) == {0: 5.0}


def test_a_curve_that_was_thinned_out_is_told_as_it_is_in_the_end(member: Member) -> None:
    claimed = member.take(1)
    share(member.database, [update(member, claimed, values=dict.fromkeys(range(1, 100, 2), 0.5))])
    thin = dict.fromkeys(range(0, MOST_STEPS, 2), 0.25)
    member.tell(claimed, 0.5, intermediate=thin)
    assert reported(member) == thin


def test_a_pruned_trial_of_several_objectives_does_not_break_optunas_sampler(database: Database) -> None:
    member = join(database, make_experiment('directions = ["minimize", "maximize"]'))
    claimed = member.take(1)
    share(database, [update(member, claimed, values={0: 1.0})])
    member.tell(claimed, 1.0, 2.0, is_pruned=True, intermediate={0: 1.0, 1: 2.0})
    assert member.trials()[0].intermediate_values == {}
    with plain_optuna(database, directions=("minimize", "maximize")) as study:
        study.sampler = TPESampler(n_startup_trials=0, seed=1)
        assert 0 <= study.ask().suggest_int("x", 0, 8) <= 8
