"""Rows that come in are held against the experiment as the database has it."""

from __future__ import annotations

import json

import pytest

from tests.factories import join, linked, make_experiment, opened
from tuned.daemon.answers.tables import exported, imported
from tuned.errors import InvalidInput


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def test_rows_that_fit_come_in_and_the_others_are_told(database_url: str) -> None:
    with opened(database_url) as database:
        study_id = join(database, make_experiment()).status.study_id
    rows = lines({"params_x": 3, "value": 0.5}, {"params_x": 99, "value": 1}, {"params_x": 4, "value": "1"})
    async with linked(database_url) as link:
        answer = await imported(link, study_id, "exp", rows)
        page = await exported(link, "exp", after=-1, limit=9, has_reports=False)
    assert (answer["imported"], answer["known"]) == (2, 0)
    assert answer["unfit"] == [{"row": 1, "reason": "x: 99 is not an integer from 0 to 8"}]
    assert [row["params"] for row in page["trials"]] == [{"x": 3}, {"x": 4}]


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b"[" * 100_000])
async def test_a_line_that_is_no_row_is_refused_and_nothing_is_imported(
    database_url: str, line: bytes
) -> None:
    with opened(database_url) as database:
        member = join(database, make_experiment())
        async with linked(database_url) as link:
            with pytest.raises(InvalidInput, match="line 2: found no JSON object"):
                await imported(
                    link, member.status.study_id, "exp", lines({"params_x": 3, "value": 0.5}) + line
                )
        assert member.trials() == []
