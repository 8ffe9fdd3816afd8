"""The Python of an experiment file's objective, tried here and now as the daemon would try it.

It needs no daemon.
"""

from __future__ import annotations

import asyncio
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.experiment.tables.code import PLACE
from tuned.trial import process, process_table
from tuned.trial.fork_servers import ForkServer, ServerProgram
from tuned.trial.programs import look_launch, why_unusable

if TYPE_CHECKING:
    from tuned.domain.ending import Ending
    from tuned.experiment.experiment import Experiment
    from tuned.trial.launch import Launch


def problem(parsed: Experiment) -> str:
    """Why the objective cannot run in its interpreter; empty if it can, or if only a host will have it."""
    if parsed.objective.interpreter is None or parsed.objective.interpreter.startswith(PLACE):
        return ""
    with tempfile.TemporaryDirectory(prefix="tunectl-interpreter-") as scratch:
        launch = look_launch(
            parsed, host=platform.node(), log=Path(scratch, "output.log"), installation="try"
        )
        return why_unusable(parsed, asyncio.run(_ending(launch)))


async def _ending(launch: Launch) -> Ending:
    process_table.become_subreaper()
    server = ForkServer(ServerProgram.of_commands())
    try:
        return await process.run(launch, server.start)
    finally:
        await server.end()
