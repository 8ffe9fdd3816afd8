"""A step goes through in the end, whatever it raised before."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.factories import linked
from tuned.daemon import retrying
from tuned.daemon.retrying import retried
from tuned.errors import Conflict, DatabaseAway
from tuned.storage.database import Database


def failing(*errors: Exception) -> list[Exception]:
    return list(reversed(errors))


async def test_an_outage_and_a_bug_are_outlived_and_only_the_bug_has_a_traceback(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.01)
    errors = failing(DatabaseAway("gone"), ValueError("odd"), ValueError("odd"))

    def step(_: Database) -> str:
        if errors:
            raise errors.pop()
        return "done"

    failures: list[None] = []
    async with linked(sqlite_url) as link:
        with capture_logs() as logged:
            done = await retried(
                link, "take a step", lambda: link.call(step), on_failure=lambda: failures.append(None)
            )
    assert (done, len(failures)) == ("done", 3)
    bugs = [record for record in logged if record["event"] == "cannot go on, tried again later"]
    assert [(bug["doing"], bug["seconds"]) for bug in bugs] == [("take a step", 0.01), ("take a step", 0.02)]


async def test_a_conflict_is_left_to_a_person(sqlite_url: str) -> None:
    async def step() -> None:
        raise Conflict("another daemon has this name")

    async with linked(sqlite_url) as link:
        with pytest.raises(Conflict):
            await retried(link, "join", step)
