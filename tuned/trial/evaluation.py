"""The life of one evaluation, from the claim to its ending: attempts, environment, directories.

It must know neither the database nor the slots. Cancelling ``evaluate`` kills the trial's whole tree before
the cancellation goes on; an evaluation that was cancelled has no ending, and its canceller settles it.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import structlog

from tuned.disk.layout import Layout, study_folder
from tuned.domain.ending import CRASHES, Ending, EndState, Failure
from tuned.trial import cgroup, programs
from tuned.trial.channel import Answer, nothing_known
from tuned.trial.curve import Curve, OnReport, ignored
from tuned.trial.keeping import Run, Verdict, Watcher, nobody_told
from tuned.trial.launch import Launch, own_environment
from tuned.trial.progress import Progress, encode
from tuned.trial.replicates import replicated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.config.trials_service import TrialsService
    from tuned.disk.layout import TrialFiles
    from tuned.disk.state import StateDirectory
    from tuned.domain.claim import Claimed
    from tuned.experiment.experiment import Experiment
    from tuned.protocol.fleet import FindingView
    from tuned.trial.keeping import CarryOut

_log: FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Site:
    """The part of a host that is the same for all of its trials."""

    host: str
    state: StateDirectory
    #: It runs the trials as a user of their own; None if the daemon's user runs them.
    service: TrialsService | None = None
    #: None if they cannot be used; trees are then found by walking over processes.
    cgroups: cgroup.Root | None
    #: Between SIGTERM and SIGKILL.
    grace_seconds: float
    #: Why ``cgroups`` is None, for people; empty if it is not.
    no_cgroups: str = ""
    #: A trial begins with it: the daemon's or the service's own, without secrets.
    environment: Mapping[str, str] = field(default_factory=own_environment)
    #: The GPUs that the service sees: this process sees none then.
    gpus: tuple[str, ...] = ()

    @classmethod
    def here(
        cls, *, host: str, state: StateDirectory, grace_seconds: float, service: TrialsService | None = None
    ) -> Self:
        """With control groups if this host has them; logs why if it has not. A service tells it later."""
        if service is not None:
            waiting = f"{service.user}.service has not answered yet"
            return cls(
                host=host, state=state, service=service, cgroups=None, grace_seconds=grace_seconds,
                no_cgroups=waiting,
            )  # fmt: skip
        found = cgroup.find()
        if isinstance(found, cgroup.Root):
            return cls(host=host, state=state, cgroups=found, grace_seconds=grace_seconds)
        _log.warning("no control groups", isolation="best-effort", reason=found.reason)
        return cls(host=host, state=state, cgroups=None, grace_seconds=grace_seconds, no_cgroups=found.reason)

    @property
    def layout(self) -> Layout:
        """The directories in which trials leave something."""
        return self.state if self.service is None else Layout(path=self.service.home)

    def learn(
        self, cgroups: cgroup.Root | None, reason: str, environment: Mapping[str, str], gpus: Sequence[str]
    ) -> None:
        """Takes over what the service has found out of itself; ``reason`` is why it has no control groups."""
        self.cgroups, self.no_cgroups = cgroups, reason
        self.environment, self.gpus = environment, tuple(gpus)

    def findings(self) -> list[FindingView]:
        """Faults of the isolation here, for a doctor."""
        if not self.no_cgroups:
            return []
        return [
            {
                "kind": "note",
                "code": "no-control-groups",
                "what": f"trials run without control groups: {self.no_cgroups}",
                "why": "limits of [resources] are not kept, and a process may outlive its trial",
                "remedy": "run the daemon as the service tuned.service, or as root, on a host with cgroup v2",
                "is_fixable": False,
            }
        ]


async def nothing_to_verify() -> None:
    """This host runs the program if it runs anything."""


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """One claimed point on its way to an ending; all that stands behind ``answer`` changes while it runs."""

    experiment: Experiment
    #: The same as text, by which another daemon goes on with it.
    definition: str
    study_uid: str
    claimed: Claimed
    site: Site
    slot: int
    #: Carries out an attempt.
    carry_out: CarryOut
    #: The GPUs that it has, by id.
    cards: tuple[str, ...] = ()
    #: After a crash: raises an error if this host is at fault, because that says nothing of the point.
    verify: Callable[[], Awaitable[None]] = nothing_to_verify
    #: Tells an objective how its study stands.
    answer: Answer = nothing_known
    #: Is told why the objective's module cannot be forked.
    on_unforked: Callable[[str], object] = nobody_told
    #: 1 for the first replicate.
    replicate: int = 1
    #: 1 for the first attempt at the replicate.
    attempt: int = 1
    #: Charged to the budget so far.
    evaluations: int = 1
    #: Those of them that ended by themselves.
    ended: int = 0
    #: Why earlier attempts at the replicate crashed, oldest first.
    retried: list[Failure] = field(default_factory=list)
    #: Of the replicates before this one.
    endings: list[Ending] = field(default_factory=list)
    #: The newest run; empty before the first.
    key: str = ""
    #: Goes on with an attempt that an earlier daemon began; None once that has ended.
    resume: CarryOut | None = None
    #: Hears of the running attempt's reports, or of the values of replicates.
    on_report: OnReport = ignored
    #: System attributes in Optuna's sense, by name, as values of JSON: of the running attempt.
    system_attrs: dict[str, Any] = field(default_factory=dict)
    #: The objective whose values are the intermediate values.
    watched: int = 0
    #: Of the running attempt, and another object with each attempt; or of all replicates.
    curve: Curve = field(default_factory=Curve)
    #: As the curve; it comes if a rule looks at the trial.
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def files(self) -> TrialFiles:
        folder = study_folder(self.experiment.name, self.study_uid)
        return self.site.layout.trial(folder, self.claimed.number)

    @property
    def point_directory(self) -> Path:
        return self.site.layout.point(self.study_uid, self.claimed.point.key)

    def go_on(self, progress: Progress, resume: CarryOut, notes: Mapping[str, object]) -> None:
        """From the attempt that an earlier daemon began, and of which it noted these system attributes."""
        self.replicate, self.attempt = progress.replicate, progress.attempt
        self.evaluations, self.ended = progress.evaluations, progress.ended
        self.retried, self.endings = [*progress.retried], [*progress.endings]
        self.system_attrs = {**progress.system_attrs, **notes}
        self.resume = resume

    def begin(self) -> None:
        """Nothing is reported yet, and nothing decided."""
        self.curve = Curve(self.on_report, watched=self.watched)
        self.verdict = Verdict()
        if self.resume is None:
            self.system_attrs.clear()


async def evaluate(evaluation: Evaluation, charge: Callable[[], Awaitable[bool]]) -> Ending:
    """Runs the objective until it ends by itself, as often as ``[replicates]`` says.

    ``charge`` charges one more evaluation, if the budget allows it. Raises OSError if this host cannot begin
    one, such as on a full disk; that says nothing about the point.
    """

    async def charged() -> bool:
        is_charged = await charge()
        evaluation.evaluations += is_charged
        return is_charged

    if evaluation.experiment.replicates.count == 1:
        ending = await _tried(evaluation, charged)
    else:
        ending = await _replicated(evaluation, charged)
    kept = {name: json.dumps(value) for name, value in evaluation.system_attrs.items()}
    return replace(ending, system_attrs=kept)


async def _replicated(evaluation: Evaluation, charge: Callable[[], Awaitable[bool]]) -> Ending:
    evaluation.begin()

    async def charge_next() -> bool:
        # It may have come between two replicates.
        return not evaluation.verdict.is_given and await charge()

    plan, evaluate_one = evaluation.experiment.replicates, functools.partial(_replicate, evaluation, charge)
    ending = await replicated(plan, evaluate_one, charge_next, evaluation.curve.put, evaluation.endings)
    if evaluation.verdict.is_given and ending.state is EndState.COMPLETE and ending.begun < plan.count:
        pruning = evaluation.verdict.pruning
        ending = replace(ending, is_pruned=True, pruning=pruning, values=ending.replicates[-1])
    return replace(ending, intermediate=evaluation.curve.values)


async def _replicate(evaluation: Evaluation, charge: Callable[[], Awaitable[bool]], number: int) -> Ending:
    if evaluation.replicate != number:
        evaluation.replicate, evaluation.attempt = number, 1
        evaluation.retried.clear()
    structlog.contextvars.bind_contextvars(replicate=number, attempt=evaluation.attempt)
    return await _tried(evaluation, charge)


async def _tried(evaluation: Evaluation, charge: Callable[[], Awaitable[bool]]) -> Ending:
    """Runs the objective once, and tries crashes again while ``[retry]`` and the budget allow."""
    while True:
        ending = await _attempt(evaluation)
        failure = ending.failure
        may_retry = evaluation.attempt <= evaluation.experiment.retry.attempts
        if failure is None or failure.cause not in CRASHES or not may_retry or not await charge():
            return replace(ending, retried=tuple(evaluation.retried))
        evaluation.retried.append(failure)
        _log.warning("trial retried", cause=failure.cause.value, reason=failure.message)
        evaluation.attempt += 1
        structlog.contextvars.bind_contextvars(attempt=evaluation.attempt)


async def _attempt(evaluation: Evaluation) -> Ending:
    if evaluation.experiment.replicates.count == 1:
        evaluation.begin()
        curve = evaluation.curve
    else:
        # The steps of a trial with replicates are these: nobody hears of what a program reports in between.
        curve = Curve(watched=evaluation.watched)
    watcher = Watcher(
        curve=curve,
        answer=evaluation.answer,
        verdict=evaluation.verdict if evaluation.experiment.pruner else None,
        on_unforked=evaluation.on_unforked,
    )
    carry_out, evaluation.resume = evaluation.resume or evaluation.carry_out, None
    run = _run(evaluation)
    evaluation.key = run.key
    ending = await carry_out(run, watcher)
    evaluation.ended += 1
    if ending.failure is not None and ending.failure.is_crash:
        await evaluation.verify()
    return ending


def _run(evaluation: Evaluation) -> Run:
    site, claim = evaluation.site, evaluation.claimed.claim_id
    return Run(
        key=f"{claim}-{evaluation.replicate}-{evaluation.attempt}",
        launch=_launch(evaluation),
        study=evaluation.study_uid,
        program=programs.server_program(
            evaluation.experiment, site.host, site.layout.trials, site.environment
        ),
        fields=structlog.contextvars.get_contextvars(),
        context=encode(_progress(evaluation)),
        after=evaluation.key or None,
    )


def _progress(evaluation: Evaluation) -> Progress:
    claimed = evaluation.claimed
    candidate = claimed.candidate
    return Progress(
        experiment=evaluation.experiment.name,
        definition=evaluation.definition,
        study_uid=evaluation.study_uid,
        study_id=claimed.study_id,
        trial_id=claimed.trial_id,
        number=claimed.number,
        replica=claimed.replica,
        claim_id=claimed.claim_id,
        claimed_at=claimed.claimed_at,
        origin=candidate.origin,
        values=dict(claimed.point.values),
        point_key=claimed.point.key,
        attributes={name: json.dumps(value) for name, value in candidate.attributes.items()},
        waiting_trial=candidate.waiting_trial,
        revision=candidate.revision,
        slot=evaluation.slot,
        cards=evaluation.cards,
        replicate=evaluation.replicate,
        attempt=evaluation.attempt,
        evaluations=evaluation.evaluations,
        ended=evaluation.ended,
        retried=tuple(evaluation.retried),
        endings=tuple(evaluation.endings),
        system_attrs=dict(evaluation.system_attrs),
    )


def _launch(evaluation: Evaluation) -> Launch:
    objective = evaluation.experiment.objective
    site, files, point = evaluation.site, evaluation.files, evaluation.point_directory
    work = (files.work,) if objective.workdir is None else ()
    return Launch(
        argv=programs.command(evaluation.experiment, evaluation.claimed.point),
        environment=_environment(evaluation),
        workdir=files.work if objective.workdir is None else Path(objective.workdir),
        log=files.log,
        timeout_seconds=objective.timeout,
        objectives=len(evaluation.experiment.directions),
        pattern=objective.pattern,
        is_objective=objective.python is not None,
        mark=f"{site.state.installation_id}/{evaluation.claimed.candidate.claim_id}",
        cgroups=site.cgroups,
        limits=evaluation.experiment.resources.of_group,
        grace_seconds=site.grace_seconds,
        directories=(files.directory.parent, files.directory, *work, point.parent, point),
        # Most programs leave nothing: their directories need not stay.
        removed_if_empty=(*work, point),
        heading=_heading(evaluation),
    )


def _heading(evaluation: Evaluation) -> str:
    """All replicates have one log."""
    count = evaluation.experiment.replicates.count
    if count == 1 or evaluation.attempt > 1:
        return ""
    return f"replicate {evaluation.replicate} of {count}"


def _environment(evaluation: Evaluation) -> dict[str, str]:
    return programs.environment(
        evaluation.experiment,
        evaluation.claimed.point,
        trial=evaluation.claimed.number,
        host=evaluation.site.host,
        base=evaluation.site.environment,
        slot=evaluation.slot,
        attempt=evaluation.attempt,
        replicate=evaluation.replicate,
        point_directory=evaluation.point_directory,
        cards=evaluation.cards,
    )
