"""The shapes of experiments, and the answers to requests that change one."""

from typing import Any, NotRequired, TypedDict

from tuned.protocol.fields import DirectionName, StudyStateName, Time, TrustedOnly
from tuned.protocol.trials import BestView, RevisionView, TrialView


class Counts(TypedDict):
    """The fleet's trials of one experiment. Each trial is counted once."""

    #: Evaluated, with values.
    complete: int
    #: COMPLETE with a twin's values, without an evaluation.
    reused: int
    #: FAIL after an evaluation, aborted and lost ones included.
    failed: int
    #: FAIL without an evaluation, because the point was being evaluated elsewhere.
    skipped: int
    pruned: int
    running: int
    #: WAITING trials, and points that are parked until their twin ends.
    waiting: int


class ExperimentSummary(TypedDict):
    """One experiment, as ``status`` and ``list`` show it."""

    name: str
    state: StudyStateName
    #: Why it is in this state, if that is not plain, with what a person can do about it.
    note: str
    #: Why it ends or has ended: "100 trials", "target 0.99 reached by trial 41 on h3"; None while nothing
    #: has ended it.
    ended_by: str | None
    #: The host from which this one has its file; empty if a person dropped it here, or it is not here.
    origin: str
    #: This host evaluates nothing of it until a person resumes it, though the fleet may.
    is_paused_here: bool
    #: Among the experiments of a host: the highest gets free slots first.
    priority: int
    directions: list[DirectionName]
    #: How many evaluations run on this host now; ``counts.running`` is the fleet's.
    running: int
    counts: Counts
    #: Charged to the budget, and the budget; a limit of None is no limit.
    trials: int
    trials_limit: int | None
    evaluations: int
    evaluations_limit: int | None
    #: Of the time budget; None without one.
    seconds_left: float | None
    #: One number for each objective; None without a target.
    target: list[float] | None
    #: Evaluated trials since the last better value, and how many end it; 0 while no limit counts them.
    stalled: int
    stalled_limit: int | None
    #: The number of points; None if a parameter is continuous.
    space_size: int | None
    visited: int
    #: When tuned first claimed a point; None before that.
    started: Time | None
    #: The best trial, or the first one of the front; None while no trial with a value is feasible.
    best: BestView | None
    #: The trial that violates its constraints least, if there are values and none is feasible.
    nearest: BestView | None


class SamplerView(TypedDict):
    name: str
    seed: int | None
    options: dict[str, Any]


class HostCounts(TypedDict):
    #: None: not told, as by plain Optuna.
    host: str | None
    counts: Counts


class ResourcesView(TypedDict):
    """The limits of one trial; None: as much as there is, of GPUs none of its own."""

    #: In bytes.
    memory: int | None
    cpus: float | None
    pids: int | None
    gpus: float | None


class ExperimentView(TypedDict):
    """One experiment, as ``show`` shows it."""

    summary: ExperimentSummary
    #: ``summary.counts`` by host; WAITING trials have none, and are not here.
    hosts: list[HostCounts]
    sampler: SamplerView
    #: The same in the whole fleet: Experiment.definition(), parsed.
    definition: dict[str, Any]
    #: At most so many at once on this host; None: all slots.
    parallel: int | None
    #: This host's ``[resources]``; None if it has no part in it.
    resources: ResourcesView | None
    #: Where this host's file is now; None if this host has none.
    file: str | None
    #: The directory of its trials' outputs on this host, by number; None: none of it has run here.
    outputs: str | None
    #: The newest ones, newest first; at most 5.
    failures: list[TrialView]
    #: The running trials of the fleet, the newest first; at most 20.
    running: list[TrialView]
    #: The newest first; at most 100.
    revisions: list[RevisionView]
    #: This host's ``[objective] env``.
    env: NotRequired[TrustedOnly[dict[str, str]]]


class AmendedView(TypedDict):
    """An experiment after a person changed it."""

    experiment: ExperimentSummary
    #: Nothing can start: the budget is used up, or something has ended it.
    is_full: bool
    #: This host works on it.
    runs_here: bool


class ReplacedView(AmendedView):
    #: In words, one for each key; empty if nothing differed.
    changes: list[str]


class DeletedView(TypedDict):
    """An experiment that is deleted on this host. The others follow within a beat."""

    name: str
    #: How many it had.
    trials: int


class RetryView(AmendedView):
    #: How many failed points are evaluated again.
    freed: int


class ExperimentsView(TypedDict):
    experiments: list[ExperimentSummary]
