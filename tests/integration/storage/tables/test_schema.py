"""The tables have the indexes that the statements need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from tests.factories import MIXED, Member, join, make_experiment, opened
from tests.fleet.hosts import connect
from tuned.storage.trials.settling import orphaned_studies, settle_own


@pytest.fixture
def member(postgresql_url: str) -> Iterator[Member]:
    with opened(postgresql_url) as database:
        yield join(database, make_experiment(space=MIXED))


def test_claim_tell_and_settlement_look_things_up_by_index(member: Member) -> None:
    sent: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(member.database.engine, "before_cursor_execute", listen)
    point: dict[str, Any] = {"size": 1, "rate": 0.2, "kind": "a"}
    member.tell(member.take(**point), 0.5)
    member.repeat(**point)
    member.take(**{**point, "size": 2})
    settle_own(member.database, member.status.study_id, member.claimant.incarnation, but_not=())
    orphaned_studies(member.database)
    member.now()
    event.remove(member.database.engine, "before_cursor_execute", listen)
    plans = {statement: plan(member.database.url, statement, given) for statement, given in sent}
    # A planner that shall not read whole tables does it only where no index serves; the hosts are few.
    assert {s: p for s, p in plans.items() if re.search(r"Seq Scan on (?!t_host\b)", p)} == {}
    assert any("Index" in p for p in plans.values())


def plan(url: str, statement: str, parameters: Any) -> str:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            cursor.execute(f"EXPLAIN {statement}", parameters)
            return "\n".join(line for (line,) in cursor.fetchall())
    finally:
        connection.close()
