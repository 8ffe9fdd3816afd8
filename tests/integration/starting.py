"""A command that is begun as the daemon begins it."""

from __future__ import annotations

from tuned import process
from tuned.process import Launch, OnReport
from tuned.states import Ending
from tuned.warm import Program, Server


async def run(launch: Launch, on_report: OnReport | None = None) -> Ending:
    server = Server(Program.of_commands())
    try:
        return await process.run(launch, server.start, on_report)
    finally:
        await server.end(0)
