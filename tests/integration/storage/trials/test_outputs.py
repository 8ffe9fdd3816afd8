"""The end of a failed trial's output: byte for byte, for each host, and of the newest failures alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from tests.factories import Member, join, line, make_experiment, statements
from tuned.domain.result import MOST_OUTPUT_BYTES, TellOutcome
from tuned.storage.database import Database
from tuned.storage.deletions import delete_study
from tuned.storage.tables.schema import t_output
from tuned.storage.trials import outputs
from tuned.storage.trials.outputs import KeptOutput, kept_output
from tuned.storage.trials.settling import settle_own
from tuned.storage.trials.tells import tell


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment(space=line(60)))


def fail(member: Member, x: int, output: bytes) -> None:
    result = replace(member.result(member.take(x)), output=output)
    assert tell(member.database, result) is TellOutcome.TOLD


def found(member: Member, number: int) -> bytes | None:
    kept = kept_output(member.database, member.status.study_id, number)
    return None if kept is None else kept.output


@pytest.mark.parametrize(
    "output", [b"Traceback\n", b"\x00\xff\xed\xa0\x80\n", b"x" * MOST_OUTPUT_BYTES, "\u2713 é".encode()]
)
def test_each_host_has_the_output_of_a_failed_trial_byte_for_byte(member: Member, output: bytes) -> None:
    fail(member, 1, output)
    kept = kept_output(member.database, member.status.study_id, 0)
    assert kept == KeptOutput(host="h1", output=output)


def test_a_good_trial_and_one_without_output_keep_none(member: Member) -> None:
    tell(member.database, replace(member.result(member.take(1), 0.5), output=b"well"))
    fail(member, 2, b"")
    assert [found(member, number) for number in (0, 1, 2)] == [None] * 3


def test_a_failed_trial_keeps_its_output_in_the_statements_of_its_tell(member: Member) -> None:
    if not member.database.is_postgresql:
        pytest.skip("on SQLite no statement is a round trip")
    counts = []
    for x, output in ((1, b""), (2, b"Traceback")):
        claimed = member.take(x)
        with statements(member.database) as seen:
            tell(member.database, replace(member.result(claimed), output=output))
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_a_trial_that_the_database_has_forgotten_gets_its_output_again(member: Member) -> None:
    result = replace(member.result(member.take(1)), output=b"Traceback")
    settle_own(member.database, member.status.study_id, member.claimant.incarnation, but_not=())
    member.delete_trial(0)
    assert tell(member.database, result) is TellOutcome.RENEWED
    assert found(member, member.trials()[-1].number) == b"Traceback"


def test_of_many_failures_the_newest_keep_theirs(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MOST_OUTPUTS", 3)
    for x in range(4):
        fail(member, x, b"%d" % x)
    assert [found(member, number) for number in range(4)] == [None, b"1", b"2", b"3"]


def test_output_goes_with_its_trial_and_with_its_experiment(member: Member) -> None:
    for x in (1, 2):
        fail(member, x, b"Traceback")
    member.delete_trial(0)
    assert (found(member, 0), found(member, 1)) == (None, b"Traceback")
    delete_study(member.database, member.status.study_id, "exp", is_forced=True)
    with member.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(t_output)).scalar_one() == 0
