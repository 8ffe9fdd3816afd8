"""The keeper as a process of its own: what it is asked for, and what is left when one side dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.daemon import is_alive
from tests.integration.keeper.running import REPORT, a_run, pid_of_keeper
from tests.integration.trial.trees import pid_in
from tests.waiting import until_async
from tuned.domain.ending import Cause
from tuned.errors import Unstartable
from tuned.keeper import conversation
from tuned.keeper.conversation import KeeperLost
from tuned.keeper.process import MOST_KILLED, KeeperProcess
from tuned.trial.curve import Curve
from tuned.trial.evaluation import Site
from tuned.trial.keeping import Run, Watcher


def marked(site: Site, run: Run) -> Run:
    """Of this installation."""
    mark = f"{site.state.installation_id}/{run.key[:32]}"
    return replace(run, launch=replace(run.launch, mark=mark))


async def test_a_run_reports_while_it_lasts_and_ends_with_its_value(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    go, curve = tmp_path / "go", Curve(lambda _: (tmp_path / "go").touch())
    script = f"{REPORT}; while [ ! -e {go} ]; do sleep 0.01; done; echo 7"
    ending = await keeper.run(a_run(tmp_path, script), Watcher(curve=curve))
    assert (ending.values, ending.intermediate, curve.values) == ((7.0,), {3: 0.5}, {3: 0.5})
    await keeper.written()
    assert (tmp_path / "output.log").read_text().endswith("\n7\n")


async def test_a_cancelled_run_is_gone_before_the_cancellation_goes_on(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    running = asyncio.ensure_future(keeper.run(a_run(tmp_path, f"echo $$ > {file}; sleep 600"), Watcher()))
    pid = await asyncio.to_thread(pid_in, file)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert not is_alive(pid)


async def test_a_run_that_is_cancelled_as_it_begins_is_over(keeper: KeeperProcess, tmp_path: Path) -> None:
    await keeper.begin()
    running = [asyncio.ensure_future(keeper.run(a_run(tmp_path, "sleep 600"), Watcher())) for _ in range(9)]
    await asyncio.sleep(0)
    for each in running:
        each.cancel()
    done, _ = await asyncio.wait(running, timeout=60)
    assert [each.cancelled() for each in done] == [True] * 9


async def test_a_host_that_cannot_begin_a_run_says_why(keeper: KeeperProcess, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = a_run(tmp_path, "true")
    blocked = replace(run, launch=replace(run.launch, directories=(tmp_path / "file" / "directory",)))
    with pytest.raises(NotADirectoryError, match=f"{tmp_path}/file/directory"):
        await keeper.run(blocked, Watcher())
    assert (await keeper.run(a_run(tmp_path, "echo 1"), Watcher())).values == (1.0,)


async def test_a_run_past_its_time_is_killed(keeper: KeeperProcess, tmp_path: Path) -> None:
    run = a_run(tmp_path, "true", timeout_seconds=0.2)
    ending = await keeper.run(replace(run, launch=replace(run.launch, argv=("sleep", "60"))), Watcher())
    assert ending.failure is not None
    assert ending.failure.cause is Cause.TIMEOUT


async def test_when_the_keeper_dies_its_runs_are_lost_and_another_one_kills_what_they_left(
    keeper: KeeperProcess, site: Site, tmp_path: Path
) -> None:
    keeper.keep(set())
    file = tmp_path / "pid"
    run = marked(site, a_run(tmp_path, f"echo $$ > {file}; sleep 600"))
    running = asyncio.ensure_future(keeper.run(run, Watcher()))
    pid = await asyncio.to_thread(pid_in, file)
    os.kill(pid_of_keeper(), signal.SIGKILL)
    with pytest.raises(KeeperLost):
        await running
    await until_async(lambda: not is_alive(pid), what="the other keeper to kill it")
    assert (await keeper.run(a_run(tmp_path, "echo 1"), Watcher())).values == (1.0,)
    # It knows as well which processes are not needed.
    children = Path(f"/proc/{pid_of_keeper()}/task/{pid_of_keeper()}/children")
    await until_async(lambda: not children.read_text(), what="the process of commands to end")


async def test_nothing_is_left_when_it_was_closed(site: Site, tmp_path: Path) -> None:
    keeper = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    await keeper.begin()
    pid = pid_of_keeper()
    file = tmp_path / "pid"
    running = asyncio.ensure_future(keeper.run(a_run(tmp_path, f"echo $$ > {file}; sleep 600"), Watcher()))
    of_run = await asyncio.to_thread(pid_in, file)
    await keeper.close()
    assert not is_alive(pid)
    assert not is_alive(of_run)
    await asyncio.wait([running])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_nothing_is_left_when_the_keeper_could_not_end_it(
    site: Site, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "END_SECONDS", 0.2)
    keeper = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    file = tmp_path / "pid"
    run = marked(site, a_run(tmp_path, f"echo $$ > {file}; sleep 600"))
    running = asyncio.ensure_future(keeper.run(run, Watcher()))
    pid = await asyncio.to_thread(pid_in, file)
    os.kill(pid_of_keeper(), number)
    await keeper.close()
    assert not is_alive(pid)
    await asyncio.wait([running])


async def test_the_next_daemon_finds_what_the_last_one_left(site: Site, tmp_path: Path) -> None:
    first = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    go = tmp_path / "go"
    run = replace(a_run(tmp_path, f"{REPORT}; while [ ! -e {go} ]; do sleep 0.01; done; echo 7"), context=[1])
    curve = Curve()
    running = asyncio.ensure_future(first.run(run, Watcher(curve=curve)))
    await until_async(lambda: curve.reports, what="its report")
    first.note(run.key, {"completed_rung_0": 0.5})
    first.leave()
    with pytest.raises(KeeperLost):
        await running
    second = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    await second.begin()
    [kept] = second.kept()
    assert (kept.key, kept.context, kept.has_ended) == (run.key, [1], False)
    assert kept.notes == {"completed_rung_0": 0.5}
    seen = Curve()
    resumed = asyncio.ensure_future(second.resume(run, Watcher(curve=seen)))
    await until_async(lambda: seen.reports, what="the curve so far")
    go.touch()
    assert (await resumed).values == (7.0,)
    assert second.kept() == []
    with pytest.raises(KeeperLost):
        await second.resume(run, Watcher())
    await second.close()
    # In earnest the process that began it is gone.
    [began] = first._children
    began.wait()


async def test_a_run_that_ended_before_its_keeper_died_is_not_lost(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    run = a_run(tmp_path, "echo 7")
    assert (await keeper.run(run, Watcher())).values == (7.0,)
    # Nobody says that it is safe.
    await until_async(lambda: [*(tmp_path / "state" / "keeper" / "runs").iterdir()], what="its record")
    os.kill(pid_of_keeper(), signal.SIGKILL)
    await until_async(keeper.kept, what="another keeper to have it")
    assert (await keeper.resume(run, Watcher())).values == (7.0,)


def test_a_keeper_that_cannot_begin_is_one_clear_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    keeper = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    with pytest.raises(
        Unstartable, match=r"cannot begin the process that runs the trials: .*/nowhere/python"
    ):
        asyncio.run(keeper.begin())


@pytest.mark.parametrize("deaths", [MOST_KILLED - 1, MOST_KILLED])
async def test_a_keeper_that_is_killed_as_it_begins_is_begun_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    python, begun = tmp_path / "python", tmp_path / "begun"
    script = f"echo >> {begun}; [ $(wc -l < {begun}) -gt {deaths} ] || kill -9 $$; exec {sys.executable}"
    python.write_text(f'#!/bin/sh\n{script} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    keeper = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    if deaths < MOST_KILLED:
        await keeper.begin()
    else:
        with pytest.raises(Unstartable, match="it ended with status -9"):
            await keeper.begin()
    assert len(begun.read_text()) == MOST_KILLED
    await keeper.close()
