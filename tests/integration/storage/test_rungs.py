"""The rungs of running trials, as Optuna keeps them."""

from __future__ import annotations

from tests.factories import join, make_experiment, opened
from tuned.storage.rungs import running_rungs
from tuned.storage.trials.trial_rows import put_system_attributes


def test_only_rungs_of_running_trials_of_the_study_are_found(prepared_url: str) -> None:
    with opened(prepared_url) as database:
        member = join(database, make_experiment(name="one"))
        other = join(database, make_experiment(name="two"), "h2")
        running, ended, foreign = member.take(0), member.take(1), other.take(0)
        rung = {"completed_rung_1": 0.5, "completed_rungs": 7.0, "other": 1.0}
        with database.transaction() as connection:
            ids = (running.trial_id, ended.trial_id, foreign.trial_id)
            put_system_attributes(connection, dict.fromkeys(ids, rung))
        member.tell(ended, 1.0)
        assert running_rungs(database, member.status.study_id) == {
            running.trial_id: {"completed_rung_1": 0.5}
        }


def test_a_rung_that_a_person_damaged_was_not_reached(prepared_url: str) -> None:
    with opened(prepared_url) as database:
        member = join(database, make_experiment())
        claimed = member.take(0)
        with database.transaction() as connection:
            rungs = {"completed_rung_0": "x", "completed_rung_1": None, "completed_rung_2": 0.5}
            put_system_attributes(connection, {claimed.trial_id: rungs})
        assert running_rungs(database, member.status.study_id) == {
            claimed.trial_id: {"completed_rung_2": 0.5}
        }
