"""The keeper's side of a conversation, message by message."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.daemon import is_alive
from tests.integration.keeper.running import Spoken, a_run, another, hello, spoken_with
from tests.integration.trial.trees import pid_in
from tests.waiting import until_async
from tuned.domain.ending import Ending
from tuned.keeper import protocol
from tuned.trial.keeping import Run


@pytest_asyncio.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Spoken]:
    async with spoken_with() as spoken:
        spoken.say(hello(tmp_path))
        assert (await spoken.heard())["kind"] == "ready"
        yield spoken


def begin(run: Run) -> protocol.Begin:
    return {"kind": "begin", "key": run.key, "run": run, "is_judged": False, "watched": 0}


def ending_of(message: object) -> tuple[float, ...] | None:
    assert isinstance(message, dict)
    ending = message["ending"]
    assert isinstance(ending, Ending)
    return ending.values


async def test_a_run_that_is_to_end_before_its_first_step_is_over(keeper: Spoken, tmp_path: Path) -> None:
    run = a_run(tmp_path, "sleep 600")
    keeper.say(begin(run), {"kind": "end", "key": run.key})
    assert await keeper.heard() == {"kind": "ended", "key": run.key, "ending": None}


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


async def test_a_daemon_that_is_gone_leaves_its_runs_to_the_next_one(keeper: Spoken, tmp_path: Path) -> None:
    pid, go = tmp_path / "pid", tmp_path / "go"
    reports = """echo '{"step": 1, "value": 2}'; echo '{"step": 2, "value": 3}'"""
    run = a_run(tmp_path, f"{reports}; echo $$ > {pid}; while [ ! -e {go} ]; do sleep 0.01; done; echo 7")
    keeper.say(begin(replace(run, context={"trial": 3})))
    process = await asyncio.to_thread(pid_in, pid)
    keeper.wire.close()
    async with another(tmp_path) as daemon:
        daemon.say(hello(tmp_path))
        ready = await daemon.heard()
        assert ready["kind"] == "ready"
        [kept] = ready["runs"]
        assert (kept["key"], kept["context"], kept["last"]) == (run.key, {"trial": 3}, None)
        assert kept["curve"]["kept"] == [(1, 2.0), (2, 3.0)]
        assert is_alive(process)
        go.touch()
        assert ending_of(await daemon.heard()) == (7.0,)


async def test_an_ending_that_no_daemon_has_is_on_the_disk_and_the_next_keeper_has_it(
    keeper: Spoken, tmp_path: Path
) -> None:
    run, go = a_run(tmp_path, f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo 7"), tmp_path / "go"
    keeper.say(begin(run), {"kind": "ping"})
    assert (await keeper.heard())["kind"] == "pong"
    keeper.wire.close()
    go.touch()
    # It has nothing more to do.
    assert await keeper.process.wait() == 0
    async with spoken_with() as next_one:
        next_one.say(hello(tmp_path))
        ready = await next_one.heard()
        assert ready["kind"] == "ready"
        assert ending_of(ready["runs"][0]["last"]) == (7.0,)
        next_one.say({"kind": "forget", "key": run.key})
        await until_async(lambda: not [*(tmp_path / "runs").iterdir()], what="the record to be removed")


async def test_an_ending_is_on_the_disk_before_it_is_said(keeper: Spoken, tmp_path: Path) -> None:
    run = a_run(tmp_path, "echo 1")
    keeper.say(begin(run))
    assert ending_of(await keeper.heard()) == (1.0,)
    [record] = (tmp_path / "runs").iterdir()
    assert record.stem == run.key
    last = protocol.recorded(record.read_bytes())["last"]
    assert ending_of(last) == (1.0,)


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
async def test_a_disk_that_does_not_take_an_ending_keeps_it_from_nobody(
    keeper: Spoken, tmp_path: Path, fault: str
) -> None:
    run = a_run(tmp_path, "echo 1")
    scratch = tmp_path / "runs" / f".{run.key}.json.tmp"
    if fault == "refuses":
        scratch.mkdir()
    else:
        # To open it for writing waits for a reader.
        os.mkfifo(scratch)
    keeper.say(begin(run))
    assert ending_of(await keeper.heard()) == (1.0,)
    keeper.wire.close()
    async with another(tmp_path) as daemon:
        daemon.say(hello(tmp_path))
        ready = await daemon.heard()
        assert ready["kind"] == "ready"
        assert ending_of(ready["runs"][0]["last"]) == (1.0,)


async def test_an_ending_is_kept_until_the_daemon_says_that_it_is_safe(
    keeper: Spoken, tmp_path: Path
) -> None:
    safe, unsafe = a_run(tmp_path, "echo 1"), a_run(tmp_path, "echo 2")
    keeper.say(begin(safe), begin(unsafe))
    await keeper.heard(), await keeper.heard()
    keeper.say({"kind": "forget", "key": safe.key})
    await until_async(
        lambda: [path.stem for path in (tmp_path / "runs").iterdir()] == [unsafe.key],
        what="the ending to be written that nobody called safe",
    )


async def test_the_next_daemon_does_not_see_a_run_that_was_just_being_killed(
    keeper: Spoken, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    run = a_run(tmp_path, f"trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done")
    run = replace(run, launch=replace(run.launch, grace_seconds=0.5))
    keeper.say(begin(run))
    pid = await asyncio.to_thread(pid_in, file)
    keeper.say({"kind": "end", "key": run.key})
    keeper.wire.close()
    async with another(tmp_path) as daemon:
        daemon.say(hello(tmp_path))
        ready = await daemon.heard()
        assert ready["kind"] == "ready"
        assert ready["runs"] == []
        assert not is_alive(pid)
        daemon.say({"kind": "stop"})
        assert await keeper.process.wait() == 0


async def test_a_run_that_follows_another_takes_its_place(keeper: Spoken, tmp_path: Path) -> None:
    first, second = a_run(tmp_path, "echo 1"), a_run(tmp_path, "sleep 600")
    keeper.say(begin(first))
    await keeper.heard()
    keeper.say(begin(replace(second, after=first.key)), {"kind": "ping"})
    await keeper.heard()
    keeper.wire.close()
    async with another(tmp_path) as daemon:
        daemon.say(hello(tmp_path))
        ready = await daemon.heard()
        assert ready["kind"] == "ready"
        assert [kept["key"] for kept in ready["runs"]] == [second.key]
        daemon.say({"kind": "stop"})
        assert await keeper.process.wait() == 0


async def test_a_keeper_that_is_alone_for_long_kills_what_runs(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    async with spoken_with() as keeper:
        keeper.say({**hello(tmp_path), "patience_seconds": 0.2})
        keeper.say(begin(a_run(tmp_path, f"echo $$ > {file}; sleep 600")))
        pid = await asyncio.to_thread(pid_in, file)
        keeper.wire.close()
        assert await keeper.process.wait() == 0
        assert not is_alive(pid)
    assert not [*(tmp_path / "runs").iterdir()]
