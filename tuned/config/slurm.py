"""The task of a Slurm job that this process is, as Slurm's variables say.

Each task is a host of the fleet: it has a name and directories of its own, though tasks share a machine or a
home directory. A requeued job has them again. Imported by ``tunectl`` at every start, so nothing heavy may be
imported here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a job step."""

    job: int
    #: The number of the step; the job script itself has none.
    step: int | None
    #: From 0 within the step.
    rank: int
    #: How many tasks the step has.
    tasks: int
    #: As ``--cpus-per-task`` said; None without it.
    cpus: int | None

    @property
    def name(self) -> str:
        """Differs from that of any other task that lives."""
        return f"{self.job}.{'batch' if self.step is None else self.step}.{self.rank}"

    @property
    def host(self) -> str:
        """Its name in the fleet."""
        return f"{os.uname().nodename}-{self.name}"


def task_of(environ: Mapping[str, str]) -> Task | None:
    """None if this process is in no job."""
    job, rank = _number(environ, "SLURM_JOB_ID"), _number(environ, "SLURM_PROCID")
    if job is None or rank is None:
        return None
    return Task(
        job=job,
        step=_number(environ, "SLURM_STEP_ID"),
        rank=rank,
        tasks=_number(environ, "SLURM_STEP_NUM_TASKS") or 1,
        cpus=_number(environ, "SLURM_CPUS_PER_TASK") or None,
    )


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    text = environ.get(variable, "")
    return int(text) if text.isascii() and text.isdecimal() else None
