"""News comes with the transaction that makes it true, and one host has it at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from tests.factories import Member, at_once, join, make_experiment
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.news.notices import NO_WISHES, Occasion, Wishes
from tuned.domain.states import StudyState
from tuned.storage.database import Database
from tuned.storage.deletions import NO_TOMBSTONES
from tuned.storage.shared_files import news
from tuned.storage.studies import close_if_over, set_state
from tuned.storage.tables.schema import t_notice
from tuned.storage.trials.breaker import MOST_ALIKE
from tuned.storage.trials.notices import Notice, claim, settle_failed, settle_told, undelivered
from tuned.storage.trials.tells import tell

URL = "https://example.org/hook"
OWN = f'[notify]\non = ["done", "failed", "better"]\nurl = "{URL}"\n'
ONE = f"{OWN}[budget]\nevaluations = 1\n"
HOST = Wishes(on=frozenset({"done"}), url="https://example.org/host")


def telling(database: Database, extra: str = OWN) -> Member:
    return join(database, make_experiment(extra), "h1")


def rows(database: Database) -> dict[str, Row[Any]]:
    with database.reading() as connection:
        found = connection.execute(select(t_notice).order_by(t_notice.c.occasion))
        return {row.occasion: row for row in found}


def make_due(database: Database, **values: object) -> None:
    """As time does."""
    with database.transaction() as connection:
        connection.execute(update(t_notice).where(t_notice.c.due.is_not(None)).values(due=0.0, **values))


def claimed(database: Database, host: Wishes = NO_WISHES) -> Notice:
    notice = claim(database, host)
    assert notice is not None
    return notice


def crash(member: Member, x: int) -> None:
    failure = Failure(cause=Cause.EXIT, message="no such module", detail={"status": 1})
    tell(member.database, replace(member.result(member.take(x)), ending=Ending(failure=failure)))


def test_an_end_is_told_with_its_reason_and_a_cancellation_too(database: Database) -> None:
    member = telling(database, ONE)
    member.evaluate(1, 0.5)
    close_if_over(database, member.status.study_id)
    assert {name: row.words for name, row in rows(database).items()} == {
        "better": "0.5 in trial 0 on h1",
        "ended": "1 evaluation",
    }
    other = join(database, make_experiment(OWN, name="other"), claimant=member.claimant)
    set_state(database, other.status.study_id, StudyState.CANCELLED, user="alice")
    assert rows(database)["fruitless"].words == "cancelled by alice"


def test_the_breaker_s_pause_is_told_once(database: Database) -> None:
    member = telling(database)
    running = [member.take(7 + n) for n in range(2)]
    for n in range(MOST_ALIKE - 1):
        crash(member, n)
    assert rows(database) == {}
    failure = Failure(cause=Cause.EXIT, message="no such module", detail={"status": 1})
    ids = set()
    for each in running:
        tell(database, replace(member.result(each), ending=Ending(failure=failure)))
        ids.add(rows(database)["broken"].id)
    assert len(ids) == 1
    assert rows(database)["broken"].words.startswith("never succeeded: 5 evaluations")


def test_the_latest_better_value_takes_the_place_of_one_that_waits(database: Database) -> None:
    member = telling(database)
    for x, value in enumerate((0.5, 0.7, 0.4, 0.4)):
        member.evaluate(x, value)
    assert rows(database)["better"].words == "0.4 in trial 2 on h1"
    assert claimed(database).trial == 2
    assert claim(database, NO_WISHES) is None


def test_at_most_one_of_a_kind_comes_in_a_minute(database: Database) -> None:
    member = telling(database)
    member.evaluate(0, 0.5)
    settle_told(database, claimed(database))
    member.evaluate(1, 0.25)
    row = rows(database)["better"]
    assert row.due == pytest.approx(row.tried + 60, abs=0.01)
    assert claim(database, NO_WISHES) is None


def test_newer_news_that_came_during_a_try_is_told_after_it(database: Database) -> None:
    member = telling(database)
    member.evaluate(0, 0.5)
    first = claimed(database)
    member.evaluate(1, 0.25)
    settle_told(database, replace(first, told_trial=0))
    row = rows(database)["better"]
    assert (row.trial, row.told_trial) == (1, 0)
    assert row.due == pytest.approx(row.tried + 60, abs=0.01)


def test_news_is_kept_for_a_host_that_tries_until_its_claim_lapses(database: Database) -> None:
    telling(database).evaluate(0, 0.5)
    found = at_once(*[lambda: claim(database, NO_WISHES) for _ in range(4)])
    [dead] = [notice for notice in found if notice is not None]
    assert claim(database, NO_WISHES) is None
    make_due(database)
    again = claimed(database)
    assert (again.id, again.tries) == (dead.id, 2)
    # The one that was taken for dead has no word any more.
    settle_told(database, dead)
    assert settle_failed(database, dead, "slow", 5.0)
    assert rows(database)["better"].due > 1e9
    settle_told(database, again)
    assert rows(database)["better"].due is None


def test_a_failure_waits_and_is_given_up_after_a_day(database: Database) -> None:
    telling(database).evaluate(0, 0.5)
    first = claimed(database)
    assert settle_failed(database, first, "answered 500", 100.0)
    row = rows(database)["better"]
    assert row.due > row.tried + 99
    assert undelivered(database) == {"exp": "answered 500"}
    make_due(database, since=row.since - 24 * 3600 + 50)
    assert not settle_failed(database, claimed(database), "answered 500", 100.0)
    assert rows(database)["better"].due is None


def test_the_hosts_settings_tell_of_studies_without_a_table(database: Database) -> None:
    database.wishes = HOST
    member = telling(database, "[budget]\nevaluations = 1\n")
    member.evaluate(0, 0.5)
    close_if_over(database, member.status.study_id)
    assert list(rows(database)) == ["ended"]
    # A host without such settings has no way to tell it.
    assert claim(database, NO_WISHES) is None
    assert claimed(database, HOST).wishes == HOST


def test_an_empty_table_tells_nothing_whatever_the_host_says(database: Database) -> None:
    database.wishes = HOST
    member = telling(database, "[notify]\non = []\n[budget]\nevaluations = 1\n")
    member.evaluate(0, 0.5)
    close_if_over(database, member.status.study_id)
    assert rows(database) == {}


def test_the_look_of_each_beat_says_whether_something_is_due(database: Database) -> None:
    member = telling(database)
    assert not news(database, NO_TOMBSTONES).has_notices
    member.evaluate(0, 0.5)
    assert news(database, NO_TOMBSTONES).has_notices
    assert claimed(database).occasion is Occasion.BETTER
    assert not news(database, NO_TOMBSTONES).has_notices


def test_a_definition_that_cannot_be_read_holds_up_no_other_news(database: Database) -> None:
    telling(database, f"[notify]\non = []\nurl = '{URL}'").evaluate(0, 0.5)
    other = join(database, make_experiment(OWN, name="other"))
    with database.transaction() as connection:
        row = {"study_id": other.status.study_id - 1, "occasion": "wat", "id": "x", "words": ""}
        connection.execute(t_notice.insert().values(**row, since=1e12, due=0.0))
    other.evaluate(0, 0.5)
    assert claimed(database).name == "other"
