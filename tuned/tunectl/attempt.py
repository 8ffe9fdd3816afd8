"""One evaluation here and now, as a trial would be, and what would be different at the daemon.

It needs no daemon and writes nothing to a database, because a newcomer meets their first mistake here.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import signal
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuned.disk import trial_log
from tuned.disk.layout import TrialFiles
from tuned.domain.ending import Cause, Ending, Failure
from tuned.trial import process, process_table, programs
from tuned.trial.curve import Curve
from tuned.trial.fork_servers import ForkServer, ServerProgram
from tuned.trial.launch import Launch
from tuned.tunectl import interpreter, snapshot
from tuned.tunectl.advice import advice
from tuned.tunectl.hints import hints, surroundings
from tuned.tunectl.output import TrialOutput
from tuned.tunectl.pages.words import constraints_text
from tuned.tunectl.submit import example_point, load, point_text
from tuned.tunectl.text import Colour, number, printable

if TYPE_CHECKING:
    from tuned.domain.space import Point
    from tuned.experiment.experiment import Experiment
    from tuned.trial.curve import Report
    from tuned.tunectl.session import Session
    from tuned.tunectl.text import Canvas


#: More of the end of the output than its last line.
_LAST_BYTES = 4096


def run(session: Session, file: str, *, is_random: bool) -> int:
    parsed, content = load(file)
    point = parsed.space.uniform(random.SystemRandom()) if is_random else example_point(parsed)
    click.echo(f"{parsed.name}: {point_text(point)}", err=True)
    if (count := parsed.replicates.count) > 1:
        click.echo(f"replicate 1 of {count}: a trial evaluates its point so many times", err=True)
    with tempfile.TemporaryDirectory(prefix="tunectl-try-") as scratch:
        placed = snapshot.unpacked(parsed, file, Path(scratch, "code"))
        try:
            ending = _ending(placed, point, Path(scratch))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        last_line = _last_line(TrialFiles(Path(scratch)).log)
    canvas = session.canvas
    click.echo(_outcome(canvas, ending), err=True)
    document = tomllib.loads(content.decode())
    found = [
        *hints(placed, point, ending, daemon=surroundings(session.client), last_line=last_line),
        *(text for _, text in advice(parsed, document, last_line)),
    ]
    for hint in dict.fromkeys(found):
        click.echo(f"{canvas.paint('hint:', Colour.YELLOW)} {printable(hint)}", err=True)
    return 0 if ending.failure is None else 1


def _ending(parsed: Experiment, point: Point, scratch: Path) -> Ending:
    ending = asyncio.run(_set_up(parsed, scratch))
    if ending is not None:
        return ending
    if problem := interpreter.problem(parsed):
        # The daemon would not begin a trial.
        TrialFiles(scratch).log.touch()
        return Ending(failure=Failure(cause=Cause.EXIT, message=problem))
    return asyncio.run(_evaluate(parsed, point, scratch))


async def _set_up(parsed: Experiment, scratch: Path) -> Ending | None:
    """Prepares the code; returns its ending if it failed."""
    log = TrialFiles(scratch).log
    launch = programs.setup_launch(parsed, host=platform.node(), log=log, installation="try", cgroups=None)
    if launch is None:
        return None
    ending = await _carried_out(launch)
    log.unlink()
    if ending.failure is None or ending.failure.cause is Cause.NO_VALUE:
        return None
    return Ending(failure=replace(ending.failure, message=f"code.setup failed: {ending.failure.message}"))


async def _evaluate(parsed: Experiment, point: Point, scratch: Path) -> Ending:
    return await _carried_out(_launch(parsed, point, scratch))


async def _carried_out(launch: Launch) -> Ending:
    # A process that leaves its parents becomes ours, and is found when the tree must go.
    process_table.become_subreaper()
    launch.log.touch()
    server = ForkServer(ServerProgram.of_commands())
    output = TrialOutput()
    running = asyncio.ensure_future(process.run(launch, server.start, Curve(_tell_report)))
    for end in (signal.SIGTERM, signal.SIGHUP):
        # The trial is in a session of its own: it would outlive us.
        asyncio.get_running_loop().add_signal_handler(end, running.cancel)
    try:
        async for chunk in trial_log.read(launch.log, running):
            output.write(chunk)
        return await running
    finally:
        output.end()
        running.cancel()
        await asyncio.wait([running])
        await server.end()


def _launch(parsed: Experiment, point: Point, scratch: Path) -> Launch:
    objective = parsed.objective
    files, points = TrialFiles(scratch), scratch / "point"
    files.work.mkdir()
    points.mkdir()
    return Launch(
        argv=programs.command(parsed, point),
        environment=programs.environment(
            parsed, point, trial=0, host=platform.node(), slot=0, attempt=1, point_directory=points
        ),
        workdir=files.work if objective.workdir is None else Path(objective.workdir),
        log=files.log,
        timeout_seconds=objective.timeout,
        objectives=len(parsed.directions),
        pattern=objective.pattern,
        is_objective=objective.python is not None,
        mark=f"try/{os.getpid()}",
        cgroups=None,
        grace_seconds=2.0,
    )


def _tell_report(report: Report) -> None:
    values = ", ".join(number(value) for value in report.values)
    click.echo(f"intermediate value at step {report.step}: {values}", err=True)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
        return (file.read().strip().splitlines() or [b""])[-1].decode(errors="replace")


def _outcome(canvas: Canvas, ending: Ending) -> str:
    if ending.failure is not None:
        return f"{canvas.paint('FAIL', Colour.RED)} {ending.failure.cause}: {ending.failure.message}"
    values = ", ".join(map(number, ending.values or ()))
    if ending.is_pruned:
        last = f"last report {values}" if values else "without a report"
        return f"{canvas.paint('PRUNED', Colour.BOLD)} {last}"
    kept = f", constraints {constraints_text(ending.constraints)}" if ending.constraints else ""
    return f"{canvas.paint('COMPLETE', Colour.GREEN)} value {values}{printable(kept)}"
