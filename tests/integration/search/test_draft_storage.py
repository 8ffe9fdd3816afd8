"""Drafts as Optuna sees them among the trials, before their points are claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import delete, select

from tests.factories import join, make_experiment, opened, plain_optuna, statements
from tests.integration.search.drawing import evaluate, search, visible
from tuned.domain.claim import Claimed
from tuned.search.draft_storage import FIRST_DRAFT, DraftStorage
from tuned.storage.database import Database
from tuned.storage.history import History
from tuned.storage.tables.schema import trial_values, trials


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with opened(sqlite_url) as database:
        yield database


def test_a_draft_has_a_number_that_no_trial_has(database: Database) -> None:
    member = search(database, "tpe")
    source = member.source()
    first = source.draw()
    assert isinstance(member.claims.claim(first.candidate), Claimed)
    source.release(first)
    source.draw()
    assert [trial.number for trial in visible(source, TrialState.RUNNING)] == [0, 1]


def test_a_draft_comes_after_all_trials_that_are_there(database: Database) -> None:
    member = search(database, "random")
    source = member.source()
    evaluate(member, source)
    other = search(database, "random", host="h2")
    evaluate(other, other.source())
    source.draw()
    evaluate(other, other.source())
    source.draw()
    assert len(visible(source, TrialState.COMPLETE)) == 3
    ids = [trial._trial_id for trial in visible(source, TrialState.RUNNING)]
    assert ids == sorted(ids)
    assert min(ids) > 2**31


def test_a_sampler_that_models_constraints_sees_values_with_the_usual_ones_only(database: Database) -> None:
    member = join(database, make_experiment('[sampler]\nname = "gp"'))
    for x, names in enumerate(["", "", "", "ab", "a", "ab", ""]):
        member.tell(member.take(x), 0.5, constraints=dict.fromkeys(names, 1.0))
    member.tell(member.take(7))
    for sampler, expected in (("gp", [3, 5, 7]), ("tpe", list(range(8)))):
        experiment = make_experiment(f'[sampler]\nname = "{sampler}"')
        history = History(database, member.status.study_id, objectives=1)
        storage = DraftStorage(database, experiment, member.status, history)
        assert [trial.number for trial in storage.get_all_trials(0)] == expected


def test_a_draw_writes_nothing_but_what_samplers_keep_with_the_study(database_url: str) -> None:
    with opened(database_url) as database:
        for sampler in ("qmc", "nsgaii", "cmaes", "tpe"):
            member = search(database, sampler, name=sampler)
            source = member.source()
            for value in (3.0, 1.0, 2.0, 0.0):
                evaluate(member, source, value)
            with statements(database) as seen:
                source.draw()
                source.complete({"x": 0.5}, 7)
            changing = [s for s in seen if s.split()[0] in ("INSERT", "UPDATE", "DELETE")]
            assert all("INTO study_system_attributes" in statement for statement in changing)
            assert changing or sampler != "qmc"
            with database.reading() as connection:
                of_study = select(trials).where(trials.c.study_id == member.status.study_id)
                assert len(connection.execute(of_study).all()) == 4


def test_a_draft_has_an_id_that_no_database_gives(database: Database) -> None:
    source = search(database, "random").source()
    assert FIRST_DRAFT < source.draw().draft_id < source.draw().draft_id


def test_a_complete_trial_whose_values_a_person_deleted_is_no_part_of_the_history(
    database: Database,
) -> None:
    member = search(database, "tpe")
    source = member.source()
    for value in range(12):
        evaluate(member, source, value)
    with database.transaction() as connection:
        connection.execute(delete(trial_values).where(trial_values.c.trial_id == 1))
    again = member.source()
    again.draw()
    assert len(visible(again, TrialState.COMPLETE)) == 11


def test_an_ask_pops_no_trial_that_plain_optuna_enqueued(database: Database) -> None:
    source = search(database, "random").source()
    with plain_optuna(database) as study:
        study.enqueue_trial({"x": 0.5, "y": 1.5})
        assert visible(source, TrialState.WAITING) == []
        source.draw()
        assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]


@pytest.mark.parametrize(
    "act",
    [
        lambda study: study.tell(study.ask(), 1.0),
        lambda study: study.ask().report(1.0, 0),
        lambda study: study.ask().set_user_attr("a", 1),
        lambda study: study.set_user_attr("a", 1),
    ],
    ids=["tell", "report", "mark", "mark-study"],
)
def test_a_draft_is_drawn_and_nothing_else(database: Database, act: Callable[[optuna.Study], object]) -> None:
    study = search(database, "random").source()._study
    assert study is not None
    with pytest.raises(NotImplementedError, match="nothing else is done with it"):
        act(study)
