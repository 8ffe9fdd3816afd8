"""A fleet on one PostgreSQL: 500 slots of 50 hosts, trials of 20 to 60 s, and faster until it breaks."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crew import crew
from benchmarks.ground import UNFLUSHED, Ground
from benchmarks.report import Cell, Report
from benchmarks.simulated import LONGEST_SECONDS, SHORTEST_SECONDS, Observed, Plan, simulate
from tests.factories import opened

PROCESSES = 5
HOSTS = 50
SLOTS_PER_HOST = 10
SLOTS = HOSTS * SLOTS_PER_HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    speed: float
    studies: int
    sampler: str
    seconds: float
    #: False: as if the server's disk took no time.
    flushes: bool = True

    @property
    def asked(self) -> float:
        """Trials per second, if no slot ever waited."""
        return SLOTS * self.speed / ((SHORTEST_SECONDS + LONGEST_SECONDS) / 2)


STEPS = (
    Step(speed=1, studies=1, sampler="random", seconds=15),
    Step(speed=1, studies=1, sampler="tpe", seconds=15),
    Step(speed=4, studies=1, sampler="random", seconds=10),
    Step(speed=16, studies=1, sampler="random", seconds=10),
    Step(speed=16, studies=5, sampler="random", seconds=10),
    Step(speed=16, studies=1, sampler="random", seconds=10, flushes=False),
)


def measure(ground: Ground, report: Report) -> None:
    rows = [_measure_step(ground, step) for step in STEPS]
    report.table(
        f"Fleet: {SLOTS} slots on {HOSTS} hosts, one PostgreSQL, trials of {SHORTEST_SECONDS:g} to"
        f" {LONGEST_SECONDS:g} s and so much faster (the load generator shares the machine)",
        rows,
    )


def _measure_step(ground: Ground, step: Step) -> dict[str, Cell]:
    # In memory if possible: real hosts have a disk each for their results, and do not share one.
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home,
        ground.database("postgresql" if step.flushes else UNFLUSHED) as url,
        crew(PROCESSES) as workers,
    ):
        with opened(url):
            pass
        plan = Plan(
            url=url,
            home=Path(home),
            hosts=HOSTS // PROCESSES,
            slots=SLOTS_PER_HOST,
            studies=step.studies,
            sampler=step.sampler,
            speed=step.speed,
            seconds=step.seconds,
            server_pid=ground.postgres.pid,
        )
        return _row(step, workers.run(simulate, plan))


def _row(step: Step, found: list[Observed]) -> dict[str, Cell]:
    claims = sorted(wait for each in found for wait in each.claims)
    percentiles = statistics.quantiles(claims, n=100)
    told = sum(each.told for each in found)
    # All processes look at one server; the first one's look will do.
    server = found[0].server_cpu_seconds
    return {
        "studies": step.studies,
        "sampler": step.sampler,
        "flushes": "yes" if step.flushes else "no",
        "faster": step.speed,
        "trials/s asked": step.asked,
        "claims/s": len(claims) / step.seconds,
        "p50 ms": percentiles[49] * 1000,
        "p99 ms": percentiles[98] * 1000,
        "statements/s": sum(each.statements for each in found) / step.seconds,
        "connections": sum(each.connections for each in found),
        "away": sum(each.away for each in found),
        "server CPU ms/trial": server / told * 1000,
        "hosts' CPU ms/trial": sum(each.cpu_seconds for each in found) / told * 1000,
        "all slots busy after s": max(each.begin_seconds for each in found),
    }
