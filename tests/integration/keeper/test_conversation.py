"""The daemon's talk with a keeper: what is said of a run while it lasts, and a keeper that says nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.integration.keeper.running import REPORT, a_run, pid_of_keeper
from tests.integration.trial.trees import pid_in
from tests.waiting import until_async
from tuned.domain.ending import Pruning
from tuned.keeper import conversation
from tuned.keeper.conversation import KeeperLost
from tuned.keeper.process import KeeperProcess
from tuned.trial.curve import Curve
from tuned.trial.keeping import Verdict, Watcher


async def test_a_flood_of_reports_arrives_before_the_end(keeper: KeeperProcess, tmp_path: Path) -> None:
    curve = Curve()
    script = """i=0; while [ $i -lt 5000 ]; do echo "{\\"step\\": $i, \\"value\\": 1}"; i=$((i+1)); done"""
    ending = await keeper.run(a_run(tmp_path, script), Watcher(curve=curve))
    assert len(ending.intermediate) == curve.reports == 5000


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


async def test_a_keeper_that_hangs_is_killed(
    keeper: KeeperProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "PING_SECONDS", 0.05)
    monkeypatch.setattr(conversation, "SILENT_SECONDS", 0.5)
    file = tmp_path / "pid"
    running = asyncio.ensure_future(keeper.run(a_run(tmp_path, f"echo $$ > {file}; sleep 600"), Watcher()))
    await asyncio.to_thread(pid_in, file)
    os.kill(pid_of_keeper(), signal.SIGSTOP)
    with pytest.raises(KeeperLost):
        await running
