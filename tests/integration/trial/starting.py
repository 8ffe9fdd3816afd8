"""A command that is begun as the daemon begins it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tuned.disk import trial_log
from tuned.domain.ending import Ending
from tuned.trial import process
from tuned.trial.curve import Curve
from tuned.trial.fork_servers import ForkServer, ServerProgram
from tuned.trial.keeping import Run, Verdict, Watcher
from tuned.trial.launch import Launch, Start
from tuned.trial.process import OnLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A keeper whose runs begin in this way."""

    start: Start

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        curve, answer, verdict = watcher.curve, watcher.answer, watcher.verdict
        return await process.run(run.launch, self.start, curve, answer=answer, verdict=verdict)


@asynccontextmanager
async def serving(program: ServerProgram) -> AsyncIterator[ForkServer]:
    server = ForkServer(program)
    try:
        yield server
    finally:
        await server.end(0)


async def run(launch: Launch, curve: Curve | None = None, *, verdict: Verdict | None = None) -> Ending:
    async with serving(ServerProgram.of_commands()) as server:
        return await run_with(launch, server.start, curve, verdict=verdict)


async def run_with(
    launch: Launch,
    start: Start,
    curve: Curve | None = None,
    on_line: OnLine | None = None,
    *,
    verdict: Verdict | None = None,
) -> Ending:
    """Runs it, and waits until its output is in the log."""
    ending = await process.run(launch, start, curve, on_line, verdict=verdict)
    await trial_log.all_written()
    return ending
