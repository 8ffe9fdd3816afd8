"""The files of experiments in the database: for whom, for how long, and at which cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from tests.factories import make_experiment, opened, statements
from tests.integration.storage.steps import delete_by_optuna
from tuned.domain.states import StudyState
from tuned.domain.study_status import StudyStatus
from tuned.errors import NotFound
from tuned.experiment.experiment import Experiment
from tuned.storage.changes import Author, replace_definition
from tuned.storage.database import Database
from tuned.storage.deletions import NO_TOMBSTONES, delete_study
from tuned.storage.encoding import Encoding
from tuned.storage.shared_files import Offer, SharedFile, news, shared_file
from tuned.storage.studies import open_study, set_state
from tuned.storage.tables.schema import t_file

ANN = Author(user="ann", host="h2")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


def file_of(text: str, host: str = "h1", name: str = "exp") -> SharedFile:
    return SharedFile(host=host, name=name, content=text.encode())


def dropped(
    database: Database, experiment: Experiment, file: SharedFile, *, is_new: bool = True
) -> StudyStatus:
    return open_study(database, experiment, Encoding(experiment.space), is_new=is_new, file=file)


def offered(database: Database) -> list[Offer]:
    return list(news(database, NO_TOMBSTONES).offers)


def found(database: Database) -> SharedFile | None:
    [offer] = offered(database)
    kept = shared_file(database, offer)
    return None if kept is None else kept[0]


def test_the_first_file_of_an_open_study_is_offered_to_all(database: Database) -> None:
    experiment = make_experiment()
    status = dropped(database, experiment, file_of("ä = 1"))
    dropped(database, experiment, file_of("other", "h2"))
    dropped(database, experiment, file_of("after a restart", "h2"), is_new=False)
    assert offered(database) == [Offer(study_id=status.study_id, uid=status.uid, revision=1)]
    assert found(database) == file_of("ä = 1")


def test_nothing_is_offered_that_is_for_its_own_host_or_over(database: Database) -> None:
    dropped(database, make_experiment('[fleet]\nhosts = "here"'), file_of("x"))
    over = make_experiment(name="over")
    set_state(database, dropped(database, over, file_of("y")).study_id, StudyState.CANCELLED)
    assert offered(database) == []
    # Dropped again, it is the newest file that counts.
    dropped(database, over, file_of("z", "h3"))
    assert found(database) == file_of("z", "h3")


def test_a_replacement_is_the_fleets_file_unless_it_overrides_that_of_another_host(
    database: Database,
) -> None:
    experiment = make_experiment()
    study_id = dropped(database, experiment, file_of("first")).study_id
    for name, host, is_override, expected in (
        ("second", "h2", True, file_of("first")),
        ("third", "h1", True, file_of("third")),
        ("fourth", "h2", False, file_of("fourth", "h2")),
    ):
        replace_definition(
            database, study_id, experiment, ANN, file=file_of(name, host), is_override=is_override
        )
        assert found(database) == expected
    here = make_experiment('[fleet]\nhosts = "here"')
    replace_definition(database, study_id, here, ANN, file=file_of("fifth", "h2"))
    assert offered(database) == []


def test_a_file_goes_with_its_study(database: Database) -> None:
    experiment = make_experiment()
    study_id = dropped(database, experiment, file_of("x")).study_id
    delete_study(database, study_id, "exp", is_forced=False)
    dropped(database, experiment, file_of("y"))
    delete_by_optuna(database)
    assert offered(database) == []
    assert found_after(database, experiment) == file_of("z", "h2")
    with database.reading() as connection:
        assert len(connection.execute(select(t_file)).all()) == 1


def found_after(database: Database, experiment: Experiment) -> SharedFile | None:
    dropped(database, experiment, file_of("z", "h2"))
    return found(database)


def test_a_host_that_was_given_the_file_makes_no_study(database: Database) -> None:
    experiment = make_experiment()
    with pytest.raises(NotFound, match="study exp is no longer in the database"):
        open_study(database, experiment, Encoding(experiment.space), is_new=False, is_adopted=True)
    status = dropped(database, experiment, file_of("x"))
    adopted = open_study(database, experiment, Encoding(experiment.space), is_new=False, is_adopted=True)
    assert adopted.uid == status.uid


def test_a_host_without_news_asks_by_one_statement(database: Database) -> None:
    dropped(database, make_experiment(), file_of("x"))
    gone = dropped(database, make_experiment(name="gone"), file_of("y"))
    delete_study(database, gone.study_id, "gone", is_forced=False)
    known = news(database, NO_TOMBSTONES).tombstones
    assert set(known.by_uid) == {gone.uid}
    with statements(database) as seen:
        again = news(database, known)
    assert again.tombstones is known
    assert len([statement for statement in seen if statement.startswith("SELECT")]) == 1
