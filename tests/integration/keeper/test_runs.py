"""The runs of one host, carried out in the process that asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from tests.integration.keeper.running import a_run
from tests.waiting import until_async
from tuned.keeper.runs import Runs
from tuned.trial.curve import Curve
from tuned.trial.keeping import Watcher

pytestmark = pytest.mark.usefixtures("_subreaper")


@pytest_asyncio.fixture
async def runs() -> AsyncIterator[Runs]:
    runs = Runs(slots=2)
    yield runs
    await runs.close()


async def test_a_run_has_the_value_that_it_prints_and_its_watcher_the_reports(
    runs: Runs, tmp_path: Path
) -> None:
    curve = Curve()
    script = """echo '{"step": 3, "value": 0.5}'; echo 7"""
    ending = await runs.run(a_run(tmp_path, script), Watcher(curve=curve))
    assert (ending.values, ending.intermediate, curve.values) == ((7.0,), {3: 0.5}, {3: 0.5})


async def test_a_run_that_is_cancelled_is_gone(runs: Runs, tmp_path: Path) -> None:
    began = tmp_path / "began"
    running = asyncio.ensure_future(runs.run(a_run(tmp_path, f"touch {began}; sleep 60"), Watcher()))
    await until_async(began.exists, what="it to begin")
    running.cancel()
    await asyncio.wait([running], timeout=30)
    assert running.cancelled()


async def test_a_run_that_this_host_cannot_begin_is_an_error(runs: Runs, tmp_path: Path) -> None:
    run = a_run(tmp_path, "true")
    (tmp_path / "file").touch()
    blocked = replace(run, launch=replace(run.launch, directories=(tmp_path / "file" / "directory",)))
    with pytest.raises(NotADirectoryError):
        await runs.run(blocked, Watcher())


async def test_log_records_about_a_run_have_its_fields(runs: Runs, tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []
    curve = Curve(lambda _: seen.append(structlog.contextvars.get_contextvars()))
    await runs.run(a_run(tmp_path, """echo '{"step": 3, "value": 0.5}'"""), Watcher(curve=curve))
    assert seen == [{"trial": 7}]
