"""The keeper's side of a conversation, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.acceptance.daemon import is_alive
from tests.integration.keeper.running import Spoken, a_run, hello, spoken_with
from tests.integration.trial.trees import pid_in
from tests.waiting import until_async
from tuned.keeper import protocol
from tuned.trial.keeping import Run


@pytest_asyncio.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Spoken]:
    async with spoken_with() as spoken:
        spoken.say(hello(tmp_path))
        assert (await spoken.heard())["kind"] == "ready"
        yield spoken


def begin(run: Run) -> protocol.Begin:
    return {"kind": "begin", "key": run.key, "run": run, "is_judged": False}


async def test_a_run_that_is_to_end_before_its_first_step_is_over(keeper: Spoken, tmp_path: Path) -> None:
    run = a_run(tmp_path, "sleep 600")
    keeper.say(begin(run), {"kind": "end", "key": run.key})
    assert await keeper.heard() == {"kind": "ended", "key": run.key, "ending": None}


async def test_reports_that_are_read_at_once_are_one_message(keeper: Spoken, tmp_path: Path) -> None:
    line = '{"step": %d, "value": 1}\\n'
    run = a_run(tmp_path, f"printf '{line % 1}{line % 2}'")
    keeper.say(begin(run))
    reports: protocol.Reports = {"kind": "reports", "key": run.key, "reports": [(1, [1.0]), (2, [1.0])]}
    assert protocol.encoded(await keeper.heard()) == protocol.encoded(reports)
    assert (await keeper.heard())["kind"] == "ended"


async def test_messages_about_a_run_that_is_over_change_nothing(keeper: Spoken) -> None:
    keeper.say({"kind": "end", "key": "k"}, {"kind": "reply", "key": "k", "answer": 1}, {"kind": "ping"})
    assert await keeper.heard() == {"kind": "pong"}


async def test_a_process_that_was_made_for_a_study_that_was_let_go_ends_with_the_run(
    keeper: Spoken, tmp_path: Path
) -> None:
    children = Path(f"/proc/{keeper.process.pid}/task/{keeper.process.pid}/children")
    keeper.say({"kind": "keep", "studies": []}, begin(a_run(tmp_path, "echo 1")))
    assert (await keeper.heard())["kind"] == "ended"
    await until_async(lambda: not children.read_text(), what="it to end")


async def test_when_its_daemon_is_gone_it_kills_all_and_ends(keeper: Spoken, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    keeper.say(begin(a_run(tmp_path, f"echo $$ > {file}; sleep 600")))
    pid = await asyncio.to_thread(pid_in, file)
    keeper.wire.close()
    assert await keeper.process.wait() == 0
    await until_async(lambda: not is_alive(pid), what="its run to be gone")
