"""A study is deleted whole, whatever its hosts do meanwhile, and leaves a tombstone."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from optuna.storages._rdb import models
from sqlalchemy import func, select, text

from tests.factories import at_once, join, make_claimant, make_experiment, plain_optuna
from tests.integration.storage.steps import open_it
from tuned.domain.claim import Closed, Outcome
from tuned.domain.result import TellOutcome
from tuned.domain.states import StudyState
from tuned.errors import Conflict, NotFound
from tuned.storage import hosts
from tuned.storage.changes import Author, replace_definition
from tuned.storage.database import Database
from tuned.storage.deletions import NO_TOMBSTONES, Deleted, Tombstone, delete_study
from tuned.storage.queries import experiments
from tuned.storage.shared_files import news
from tuned.storage.studies import set_state, study_statuses
from tuned.storage.tables import schema
from tuned.storage.trials.settling import settle_own

ANN = Author(user="ann", host="h1")


def rows(database: Database) -> dict[str, int]:
    """How many rows each table has that belong to studies; the empty ones are left out."""
    tables = [*models.BaseModel.metadata.sorted_tables, *schema.metadata.sorted_tables]
    ours = [t for t in tables if t.name not in {"version_info", "alembic_version", "t_meta", "t_host"}]
    with database.reading() as connection:
        found = {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in ours}
    return {name: count for name, count in found.items() if count}


def test_all_rows_of_a_study_go_and_no_row_of_another_one(database: Database) -> None:
    kept = join(database, make_experiment(name="kept"))
    kept.evaluate(1, 0.5)
    before = rows(database)
    member = join(database, make_experiment(), claimant=kept.claimant)
    study_id = member.status.study_id
    member.tell(member.take(1), 0.5, intermediate={1: 0.1}, user_attrs={"a": 1})
    member.evaluate(2)
    member.take(3)
    replace_definition(database, study_id, make_experiment("[budget]\ntrials = 5"), ANN)
    definition = member.now().definition
    deleted = delete_study(database, study_id, "exp", is_forced=False)
    assert deleted == Deleted(uid=member.status.uid, trials=3)
    assert rows(database) == {**before, "t_deleted": 1}
    found = news(database, NO_TOMBSTONES).tombstones
    assert found.by_uid == {member.status.uid: Tombstone(name="exp", definition=definition)}
    assert news(database, found).tombstones is found
    with pytest.raises(NotFound, match="cannot find experiment exp"):
        experiments.find(database, "exp")


@pytest.mark.parametrize("state", StudyState)
def test_a_study_is_deleted_in_each_state(database: Database, state: StudyState) -> None:
    member = join(database, make_experiment())
    set_state(database, member.status.study_id, state)
    delete_study(database, member.status.study_id, "exp", is_forced=False)
    assert open_it(database, make_experiment()).uid != member.status.uid


def test_a_study_in_which_others_have_trials_is_deleted_only_by_force(database: Database) -> None:
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 3})
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    study_id = member.status.study_id
    with pytest.raises(Conflict, match=r"other programs have 1 of its 2 trials; .*delete --force exp"):
        delete_study(database, study_id, "exp", is_forced=False)
    assert study_id in study_statuses(database, [study_id])
    assert delete_study(database, study_id, "exp", is_forced=True).trials == 2
    assert set(rows(database)) == {"t_deleted"}


def test_what_a_host_holds_of_a_deleted_study_goes_nowhere(database: Database) -> None:
    member = join(database, make_experiment())
    study_id, claimed = member.status.study_id, member.take(1)
    delete_study(database, study_id, "exp", is_forced=False)
    assert member.draw(2) == Closed()
    assert member.tell(claimed, 0.5) is TellOutcome.DROPPED
    assert not member.claims.charge_retry(claimed, 1)
    assert settle_own(database, study_id, member.claimant.incarnation, but_not=()) == []
    assert hosts.beat(database, member.claimant.incarnation, hosts.HostInfo())


def test_a_name_is_free_again_at_once(database: Database) -> None:
    member = join(database, make_experiment())
    member.evaluate(1, 0.5)
    delete_study(database, member.status.study_id, "exp", is_forced=False)
    anew = join(database, make_experiment('direction = "maximize"'), claimant=member.claimant)
    assert (anew.now().trials, anew.now().visited, anew.now().revision) == (0, 0, 1)
    anew.take(1)


def test_a_study_that_has_the_id_of_a_deleted_one_is_left_alone(database: Database) -> None:
    study_id = open_it(database, make_experiment(name="other")).study_id
    with pytest.raises(NotFound):
        delete_study(database, study_id, "exp", is_forced=True)
    assert study_id in study_statuses(database, [study_id])


def test_of_two_deletions_at_once_one_finds_nothing(database: Database) -> None:
    study_id = open_it(database, make_experiment()).study_id

    def delete() -> Deleted | None:
        try:
            return delete_study(database, study_id, "exp", is_forced=False)
        except NotFound:
            return None

    assert sorted(each is None for each in at_once(delete, delete)) == [False, True]


def test_a_deletion_among_claims_tells_and_beats_leaves_nothing(database: Database) -> None:
    members = [join(database, make_experiment(), f"h{n}") for n in range(3)]
    held = [member.take(n) for n, member in enumerate(members)]
    study_id = members[0].status.study_id
    calls: list[Callable[[], object]] = [
        functools.partial(delete_study, database, study_id, "exp", is_forced=False)
    ]
    for n, member in enumerate(members):
        calls += [
            functools.partial(member.draw, n + 4),
            functools.partial(member.tell, held[n], 0.5),
            functools.partial(hosts.beat, database, member.claimant.incarnation, hosts.HostInfo()),
        ]
    answers = at_once(*calls)
    assert isinstance(answers[0], Deleted)
    assert set(rows(database)) == {"t_deleted"}
    assert all(isinstance(each, Outcome) for each in answers[1::3])
    assert set(answers[2::3]) <= {TellOutcome.TOLD, TellOutcome.DROPPED}
    assert set(answers[3::3]) == {True}


def test_tombstones_are_read_again_when_one_has_come_or_gone(database: Database) -> None:
    for name in ("one", "two"):
        delete_study(database, open_it(database, make_experiment(name=name)).study_id, name, is_forced=False)
    both = news(database, NO_TOMBSTONES).tombstones
    assert {each.name for each in both.by_uid.values()} == {"one", "two"}
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM t_deleted WHERE name = 'two'"))
    assert [each.name for each in news(database, both).tombstones.by_uid.values()] == ["one"]


def test_a_claimant_outlives_the_studies_that_it_worked_on(database: Database) -> None:
    claimant = make_claimant(database)
    for _ in range(2):
        member = join(database, make_experiment(), claimant=claimant)
        member.take(1)
        delete_study(database, member.status.study_id, "exp", is_forced=False)
    assert hosts.held(database) == {}
