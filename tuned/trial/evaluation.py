"""The life of one evaluation, from the claim to what is to be told: attempts, environment, directories.

It knows neither the database nor the slots. Cancelling ``evaluate`` kills the trial's whole tree before
the cancellation goes on; what was interrupted has no ending and is settled by who cancelled it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from tuned.disk.files import make_directory
from tuned.domain.ending import CRASHES, Ending, Failure
from tuned.systemd import log
from tuned.trial import cgroup, process
from tuned.trial import launch as launch_module

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from tuned.disk.state import StateDirectory
    from tuned.domain.claim import Claimed
    from tuned.experiment.experiment import Experiment
    from tuned.protocol import FindingView

_log: FilteringBoundLogger = structlog.get_logger()


LOG_NAME = "output.log"


WORK_NAME = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a host evaluates: the same for all of its trials."""

    host: str
    state: StateDirectory
    #: None if they cannot be used; trees are then found by walking over processes.
    cgroups: cgroup.Root | None
    #: Between SIGTERM and SIGKILL.
    grace_seconds: float
    #: Why ``cgroups`` is None, for people; empty if it is not.
    no_cgroups: str = ""

    @classmethod
    def here(cls, *, host: str, state: StateDirectory, grace_seconds: float) -> Self:
        """With control groups if this host has them; logs why if it has not."""
        found = cgroup.find()
        if isinstance(found, cgroup.Root):
            return cls(host=host, state=state, cgroups=found, grace_seconds=grace_seconds)
        _log.warning("no control groups", isolation="best-effort", reason=found.reason)
        return cls(host=host, state=state, cgroups=None, grace_seconds=grace_seconds, no_cgroups=found.reason)

    def findings(self) -> list[FindingView]:
        """What a doctor says of the isolation here."""
        if not self.no_cgroups:
            return []
        return [
            {
                "code": "no-control-groups",
                "what": f"trials run without control groups: {self.no_cgroups}",
                "why": "limits of [resources] are not kept, and a process may outlive its trial",
                "remedy": "run the daemon as the service tuned.service, or as root, on a host with cgroup v2",
                "is_fixable": False,
            }
        ]

    def directory(self, study_uid: str, number: int) -> Path:
        """A trial's own directory: its output and its default working directory."""
        return self.state.trials / study_uid / str(number)

    def point_directory(self, study_uid: str, key: str) -> Path:
        """A point's own directory, which outlives its trials."""
        return self.state.points / study_uid / key


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """One claimed point on its way to an ending; ``attempt`` and ``reports`` change while it runs."""

    experiment: Experiment
    study_uid: str
    claimed: Claimed
    site: Site
    slot: int
    #: How an attempt begins.
    start: launch_module.Start
    #: The GPUs that it has, by id.
    cards: tuple[str, ...] = ()
    #: 1 for the first attempt.
    attempt: int = 1
    #: Intermediate values of the running attempt, by step.
    reports: dict[int, float] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.site.directory(self.study_uid, self.claimed.number)


async def evaluate(evaluation: Evaluation, charge_retry: Callable[[], Awaitable[bool]]) -> Ending:
    """Runs the objective until it ends by itself; tries crashes again while ``[retry]`` and the budget allow.

    Raises OSError if this host cannot begin it, such as on a full disk; that says nothing of the point.
    """
    earlier: list[Failure] = []
    while True:
        ending = await _attempt(evaluation)
        failure = ending.failure
        may_retry = evaluation.attempt <= evaluation.experiment.retry.attempts
        if failure is None or failure.cause not in CRASHES or not may_retry or not await charge_retry():
            return replace(ending, retried=tuple(earlier))
        earlier.append(failure)
        _log.warning("trial retried", cause=failure.cause.value, reason=failure.message)
        evaluation.attempt += 1
        evaluation.reports.clear()
        structlog.contextvars.bind_contextvars(attempt=evaluation.attempt)


async def _attempt(evaluation: Evaluation) -> Ending:
    launch = _launch(evaluation)
    try:
        return await process.run(launch, evaluation.start, evaluation.reports.__setitem__, log.trial_output)
    finally:
        _remove_empty(evaluation)


def _launch(evaluation: Evaluation) -> launch_module.Launch:
    objective = evaluation.experiment.objective
    site = evaluation.site
    directory = evaluation.directory
    make_directory(directory.parent, 0o700)
    make_directory(directory, 0o700)
    if objective.workdir is None:
        workdir = directory / WORK_NAME
        make_directory(workdir, 0o700)
    else:
        workdir = Path(objective.workdir)
    return launch_module.Launch(
        argv=launch_module.command(evaluation.experiment, evaluation.claimed.point),
        environment=_environment(evaluation),
        workdir=workdir,
        log=directory / LOG_NAME,
        timeout_seconds=objective.timeout,
        objectives=len(evaluation.experiment.directions),
        pattern=objective.pattern,
        mark=f"{site.state.installation_id}/{evaluation.claimed.candidate.claim_id}",
        cgroups=site.cgroups,
        resources=evaluation.experiment.resources,
        grace_seconds=site.grace_seconds,
    )


def _remove_empty(evaluation: Evaluation) -> None:
    """Most programs leave nothing: their directories need not stay."""
    point = evaluation.site.point_directory(evaluation.study_uid, evaluation.claimed.point.key)
    for directory in (evaluation.directory / WORK_NAME, point):
        with contextlib.suppress(OSError):
            directory.rmdir()


def _environment(evaluation: Evaluation) -> dict[str, str]:
    points = evaluation.site.point_directory(evaluation.study_uid, evaluation.claimed.point.key)
    make_directory(points.parent, 0o700)
    make_directory(points, 0o700)
    return launch_module.environment(
        evaluation.experiment,
        evaluation.claimed.point,
        trial=evaluation.claimed.number,
        host=evaluation.site.host,
        slot=evaluation.slot,
        attempt=evaluation.attempt,
        point_directory=points,
        cards=evaluation.cards,
    )
