"""A command that is begun as the daemon begins it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tuned.domain.ending import Ending
from tuned.trial import process
from tuned.trial.fork_servers import ForkServer, ServerProgram
from tuned.trial.launch import Launch
from tuned.trial.process import OnReport


@asynccontextmanager
async def serving(program: ServerProgram) -> AsyncIterator[ForkServer]:
    server = ForkServer(program)
    try:
        yield server
    finally:
        await server.end(0)


async def run(launch: Launch, on_report: OnReport | None = None) -> Ending:
    async with serving(ServerProgram.of_commands()) as server:
        return await process.run(launch, server.start, on_report)
