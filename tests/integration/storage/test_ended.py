"""Which studies have ended for the fleet, as hosts that have files of them ask."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.factories import join, make_experiment, opened
from tests.integration.storage.steps import delete_by_optuna, open_it
from tuned.domain.states import StudyState
from tuned.storage.database import Database
from tuned.storage.ended import standings
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.tables.schema import studies, t_study


def ended(database: Database, uid: str) -> float | None:
    return standings(database, [uid, "0" * 32])[uid].ended_seconds


def test_a_study_has_ended_since_it_was_cancelled_or_done_and_not_when_it_is_opened_again(
    database: Database,
) -> None:
    status = open_it(database, make_experiment())
    assert ended(database, status.uid) is None
    for state in (StudyState.PAUSED, StudyState.OPEN):
        set_state(database, status.study_id, state)
        assert ended(database, status.uid) is None
    set_state(database, status.study_id, StudyState.CANCELLED)
    first = ended(database, status.uid)
    assert first is not None
    assert 0 <= first < 60
    open_it(database, make_experiment())
    assert ended(database, status.uid) is None


def test_a_study_that_is_done_ends_by_the_databases_clock(database: Database) -> None:
    member = join(database, make_experiment("[budget]\ntrials = 1"))
    member.evaluate(1, 0.5)
    assert close_if_over(database, member.status.study_id)
    with database.transaction() as connection:
        connection.execute(update(t_study).values(ended=t_study.c.ended - 3600))
    assert ended(database, member.status.uid) == pytest.approx(3600, abs=60)


def test_a_study_that_is_not_found_is_not_said_to_have_ended(database: Database) -> None:
    uid = open_it(database, make_experiment()).uid
    set_state(database, 1, StudyState.CANCELLED)
    delete_by_optuna(database)
    assert standings(database, [uid]) == {}


@pytest.mark.parametrize(
    "damage", [{"ended": None}, {"definition": "?"}, {"state": "gone"}], ids=["end", "definition", "state"]
)
def test_a_study_that_cannot_be_read_has_not_ended(database_url: str, damage: dict[str, object]) -> None:
    with opened(database_url, is_guarded=False) as database:
        status = open_it(database, make_experiment())
        set_state(database, status.study_id, StudyState.DONE)
        with database.transaction() as connection:
            connection.execute(update(t_study).values(**damage))
        assert ended(database, status.uid) is None


def test_an_end_that_is_no_time_is_none(sqlite_url: str) -> None:
    with opened(sqlite_url) as database:
        status = open_it(database, make_experiment())
        set_state(database, status.study_id, StudyState.DONE)
        with database.transaction() as connection:
            connection.exec_driver_sql("UPDATE t_study SET ended = 'long ago'")
        assert ended(database, status.uid) is None


def test_a_renamed_study_has_both_names(database: Database) -> None:
    uid = open_it(database, make_experiment()).uid
    with database.transaction() as connection:
        connection.execute(update(studies).values(study_name="theirs"))
    found = standings(database, [uid])[uid]
    assert (found.name, found.called) == ("theirs", "exp")
