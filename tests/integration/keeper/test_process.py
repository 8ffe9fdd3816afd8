"""The keeper as a process of its own: what it is asked for, and what is left when one side dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.daemon import command_of, is_alive
from tests.integration.keeper.running import a_run
from tests.integration.trial.trees import pid_in
from tests.waiting import until_async
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Cause, Pruning
from tuned.keeper import process
from tuned.keeper.process import KeeperLost, KeeperProcess
from tuned.trial.curve import Curve
from tuned.trial.evaluation import Site
from tuned.trial.keeping import Run, Watcher
from tuned.trial.verdict import Verdict

REPORT = """echo '{"step": 3, "value": 0.5}'"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with StateDirectory.open(tmp_path / "state") as state:
        yield Site(host="h", state=state, cgroups=None, grace_seconds=0.0)


@pytest_asyncio.fixture
async def keeper(site: Site) -> AsyncIterator[KeeperProcess]:
    keeper = KeeperProcess(site, slots=2, log_format="json")
    yield keeper
    await keeper.close()


def marked(site: Site, run: Run) -> Run:
    """Of this installation."""
    mark = f"{site.state.installation_id}/{run.key[:32]}"
    return replace(run, launch=replace(run.launch, mark=mark))


def pid_of_keeper() -> int:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    [found] = [int(pid) for pid in children if b"tuned.keeper.main" in command_of(int(pid))]
    return found


async def test_a_run_reports_while_it_lasts_and_ends_with_its_value(
    keeper: KeeperProcess, tmp_path: Path
) -> None:
    go, curve = tmp_path / "go", Curve(lambda _: (tmp_path / "go").touch())
    script = f"{REPORT}; while [ ! -e {go} ]; do sleep 0.01; done; echo 7"
    ending = await keeper.run(a_run(tmp_path, script), Watcher(curve=curve))
    assert (ending.values, ending.intermediate, curve.values) == ((7.0,), {3: 0.5}, {3: 0.5})
    await keeper.written()
    assert (tmp_path / "output.log").read_text().endswith("\n7\n")


async def test_a_flood_of_reports_arrives_before_the_end(keeper: KeeperProcess, tmp_path: Path) -> None:
    curve = Curve()
    script = """i=0; while [ $i -lt 5000 ]; do echo "{\\"step\\": $i, \\"value\\": 1}"; i=$((i+1)); done"""
    ending = await keeper.run(a_run(tmp_path, script), Watcher(curve=curve))
    assert len(ending.intermediate) == curve.reports == 5000


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


async def test_a_verdict_ends_a_run_by_the_rules_reason(keeper: KeeperProcess, tmp_path: Path) -> None:
    verdict, pruning = Verdict(), Pruning(rule="median", step=3, value=0.5, bound=0.1)
    curve = Curve(lambda _: verdict.give(pruning))
    ending = await keeper.run(a_run(tmp_path, f"{REPORT}; sleep 600"), Watcher(curve=curve, verdict=verdict))
    assert (ending.is_pruned, ending.pruning, ending.values) == (True, pruning, (0.5,))


async def test_a_result_that_came_before_the_verdict_counts(keeper: KeeperProcess, tmp_path: Path) -> None:
    verdict = Verdict()
    go, curve = tmp_path / "go", Curve(lambda _: verdict.give(Pruning(rule="median", step=3, value=0.5)))
    script = f"""echo '{{"value": 7}}'; {REPORT}; while [ ! -e {go} ]; do sleep 0.01; done"""
    running = asyncio.ensure_future(
        keeper.run(a_run(tmp_path, script), Watcher(curve=curve, verdict=verdict))
    )
    await until_async(lambda: curve.reports and not verdict.is_given, what="the verdict to be withdrawn")
    go.touch()
    assert (await running).values == (7.0,)


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


async def test_a_keeper_that_hangs_is_killed(
    keeper: KeeperProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PING_SECONDS", 0.05)
    monkeypatch.setattr(process, "SILENT_SECONDS", 0.5)
    file = tmp_path / "pid"
    running = asyncio.ensure_future(keeper.run(a_run(tmp_path, f"echo $$ > {file}; sleep 600"), Watcher()))
    await asyncio.to_thread(pid_in, file)
    os.kill(pid_of_keeper(), signal.SIGSTOP)
    with pytest.raises(KeeperLost):
        await running


async def test_nothing_is_left_when_it_was_closed(site: Site, tmp_path: Path) -> None:
    keeper = KeeperProcess(site, slots=2, log_format="json")
    await keeper.begin()
    pid = pid_of_keeper()
    file = tmp_path / "pid"
    running = asyncio.ensure_future(keeper.run(a_run(tmp_path, f"echo $$ > {file}; sleep 600"), Watcher()))
    of_run = await asyncio.to_thread(pid_in, file)
    await keeper.close()
    assert not is_alive(pid)
    assert not is_alive(of_run)
    await asyncio.wait([running])
