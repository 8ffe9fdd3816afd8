"""Spawn: what a command trial costs the daemon in CPU beyond the command's own process."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import host
from benchmarks.central import SPACE
from benchmarks.ground import Ground
from benchmarks.report import Report
from benchmarks.rounds import take_turns
from tuned.trial import cgroup, process
from tuned.trial import launch as launch_module
from tuned.trial.fork_servers import ForkServer, ServerProgram
from tuned.trial.process_table import become_subreaper

ROUNDS = 5
#: In each round: so many that the process from which they are forked hardly counts.
TRIALS = 150

COMMAND = ["sh", "-c", "echo 0.5"]


def measure(ground: Ground, report: Report) -> None:
    # Orphans of a trial come to this process, as they come to the daemon.
    become_subreaper()
    groups_here = cgroup.find()
    groups = groups_here if isinstance(groups_here, cgroup.Root) else None
    home = ground.directory()
    with ground.database("postgresql") as url, host.running(ground.directory(), url, slots=4) as daemon:
        isolation = daemon.status()["isolation"]
        contenders: dict[str, Callable[[int], float]] = {
            "bare": lambda _: _milliseconds(_run_bare),
            "spawned": lambda _: _milliseconds(partial(_run_spawned, groups, home)),
            "daemon": partial(_daemon_milliseconds, daemon),
        }
        found = take_turns(ROUNDS, contenders)
    if groups is not None:
        groups.remove()
    bare = found["bare"].median
    spawned, whole = found["spawned"].median - bare, found["daemon"].median - bare
    report.table(
        f"Spawn: milliseconds of CPU for `{' '.join(COMMAND)}`, all processes together",
        [
            {"what": "subprocess.run", "isolation": "", "ms": found["bare"], "beyond the process": 0},
            {
                "what": "tuned.trial.process.run",
                "isolation": isolation,
                "ms": found["spawned"],
                "beyond the process": spawned,
            },
            {
                "what": "daemon: draw, claim, spawn, tell",
                "isolation": isolation,
                "ms": found["daemon"],
                "beyond the process": whole,
            },
        ],
    )
    report.figure("milliseconds of CPU to spawn, shim, pipes and log included", spawned, at_most=3)


def _milliseconds(run: Callable[[], object]) -> float:
    before = _cpu_seconds()
    run()
    return (_cpu_seconds() - before) / TRIALS * 1000


def _cpu_seconds() -> float:
    """CPU time of this process and of its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _run_bare() -> None:
    for _ in range(TRIALS):
        subprocess.run(COMMAND, check=True, capture_output=True)


def _run_spawned(groups: cgroup.Root | None, home: Path) -> None:
    async def run() -> None:
        server = ForkServer(ServerProgram.of_commands())
        for number in range(TRIALS):
            launch = launch_module.Launch(
                argv=tuple(COMMAND),
                environment=os.environ,
                workdir=home,
                log=home / "output.log",
                timeout_seconds=None,
                objectives=1,
                pattern=None,
                mark=f"bench-{os.getpid()}/{number}",
                cgroups=groups,
            )
            ending = await process.run(launch, server.start)
            assert ending.values == (0.5,), ending
        # The CPU time of a process is counted once it has ended.
        await server.end()

    asyncio.run(run())


def _daemon_milliseconds(daemon: host.Host, number: int) -> float:
    before = host.household_seconds(daemon)
    daemon.run(f"spawn-{number}", host.experiment(COMMAND, SPACE, trials=TRIALS))
    return (host.household_seconds(daemon) - before) / TRIALS * 1000
