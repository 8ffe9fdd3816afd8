"""The shapes that go over the control socket, and the bounds of both sides.

docs/reference/protocol.md specifies them. Both sides of the socket share these and nothing else. Every value
is plain JSON; times are ISO 8601 in UTC (``2025-01-31T12:00:00.123456+00:00``), spans are seconds. Nothing
here does anything.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

#: Marks a field that only readers who may change something get: it may quote what a trial printed, or is
#: secret. The socket leaves it out for others, wherever in an answer its shape stands.
TRUSTED_ONLY = "trusted only"

TrustedOnly = Annotated[T, TRUSTED_ONLY]

#: How many trials one page holds, if the request does not say, and at most.
TRIALS_PER_PAGE = 100

MOST_TRIALS_PER_PAGE = 1000

#: An experiment file with more is refused.
MOST_FILE_BYTES = 2**20

#: A parameter's value, as in tuned.domain.space.
Value = int | float | str | bool

Params = dict[str, Value]

#: Of HostState; "dead" for a host whose beats have stopped.
HostStateName = Literal["starting", "running", "draining", "aborting", "stopped", "dead"]

StudyStateName = Literal["open", "paused", "cancelled", "done"]

TrialStateName = Literal["COMPLETE", "RUNNING", "FAIL", "WAITING", "PRUNED"]

TRIAL_STATES: tuple[TrialStateName, ...] = ("COMPLETE", "RUNNING", "FAIL", "WAITING", "PRUNED")


class FailureView(TypedDict):
    """Why a trial failed: the user attribute ``FAILURE``."""

    cause: str
    #: For people. May quote what the trial printed.
    message: NotRequired[TrustedOnly[str]]


class TwinView(TypedDict):
    """The trial that a duplicate is a duplicate of."""

    number: int
    host: str | None


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


class BestView(TypedDict):
    """A best trial. With several objectives: one of the front."""

    number: int
    values: list[float]
    params: Params
    host: str | None


class ExperimentSummary(TypedDict):
    """One experiment, as ``status`` and ``list`` show it."""

    name: str
    state: StudyStateName
    #: Why it is in this state, if that is not plain: "paused after 10 failures in a row on this host".
    note: str
    directions: list[Literal["minimize", "maximize"]]
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
    #: The number of points; None if a parameter is continuous.
    space_size: int | None
    visited: int
    #: When tuned first claimed a point; None before that.
    started: str | None
    #: The best trial, or the first one of the front; None while there is no value.
    best: BestView | None


class TrialView(TypedDict):
    number: int
    state: TrialStateName
    params: Params
    values: list[float] | None
    host: str | None
    duplicate_of: TwinView | None
    failure: FailureView | None
    started: str | None
    ended: str | None
    seconds: float | None
    #: 1 for the first evaluation, one more for each retry.
    attempt: int


class PointView(TypedDict):
    """One point, as the database has it now."""

    state: Literal["free", "held", "done", "failed"]
    #: The trial that holds it, or held it last, and its host; None if nobody ever did.
    trial: int | None
    host: str | None
    #: That trial has the value of this one, which came too late.
    late_of: int | None
    #: How often it was lost.
    losses: int


class StoryView(TypedDict):
    """One trial, as ``explain`` tells it."""

    trial: TrialView
    #: Where its point came from: sampler, points, enqueued, freed, walk, or late; None: another program's.
    origin: str | None
    #: The experiment's sampler, by name.
    sampler: str
    #: Why earlier attempts crashed, oldest first.
    retried: list[FailureView]
    #: The trial whose value this is, which came too late for it.
    late_of: int | None
    #: None if its parameters are not a point of the experiment's space.
    point: PointView | None


class SamplerView(TypedDict):
    name: str
    seed: int | None
    options: dict[str, Any]


class HostCounts(TypedDict):
    #: None: not told, as by plain Optuna.
    host: str | None
    counts: Counts


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
    #: The newest ones, newest first; at most 5.
    failures: list[TrialView]
    #: This host's ``[objective] env``.
    env: NotRequired[TrustedOnly[dict[str, str]]]


class ResourcesView(TypedDict):
    """The limits of one trial; None: as much as there is, of GPUs none of its own."""

    #: In bytes.
    memory: int | None
    cpus: float | None
    pids: int | None
    gpus: float | None


class SlotView(TypedDict):
    """One slot of this host; ``running`` is None when it is idle."""

    slot: int
    running: RunView | None


class RunView(TypedDict):
    experiment: str
    trial: int
    attempt: int
    seconds: float
    #: The ids of the cards that it was given.
    gpus: list[str]


class GpuView(TypedDict):
    """One card that this host gives out."""

    #: As in CUDA_VISIBLE_DEVICES.
    id: str
    #: From 0, free, to 1.
    used: float


class DatabaseView(TypedDict):
    #: Without a password.
    url: str
    reachable: bool
    #: Why it is not reachable.
    message: str | None
    #: Results on this host's disk that the database does not have yet.
    pending_results: int


class Status(TypedDict):
    """This host. Answered also while the database is away, then with what was last known."""

    host: str
    state: HostStateName
    version: str
    pid: int
    uptime_seconds: float
    isolation: Literal["cgroup", "best-effort"]
    #: The limits that this host can keep: of memory, cpus and pids.
    limits: list[str]
    gpus: list[GpuView]
    #: Absolute path: ``tunectl submit`` puts files there.
    spool: str
    database: DatabaseView
    slots: list[SlotView]
    #: The open and the paused ones.
    experiments: list[ExperimentSummary]
    #: Things that a person should look at, one sentence each.
    warnings: list[str]


class HostView(TypedDict):
    """One host of the fleet, as the database and this host see it."""

    name: str
    state: HostStateName
    slots: int
    #: The cards that it gives out.
    gpus: int
    #: Its trials that are RUNNING in the database; of a dead host: those that nobody has settled yet.
    running: int
    #: How long ago the answering host saw its counter move; None: it has not looked since it started.
    beat_age_seconds: float | None
    version: str
    optuna_version: str


class AmendedView(TypedDict):
    """An experiment after a person changed it."""

    experiment: ExperimentSummary
    #: Nothing can start: the budget is used up.
    is_full: bool
    #: This host works on it.
    runs_here: bool


class RetryView(AmendedView):
    #: How many failed points are evaluated again.
    freed: int


class FindingView(TypedDict):
    """One thing that is wrong, as ``doctor`` tells it."""

    #: A word that does not change with versions; docs/reference/protocol.md has all.
    code: str
    what: str
    #: Why it matters.
    why: str
    #: A person can do this.
    remedy: str
    #: ``doctor --fix`` does it.
    is_fixable: bool


class DoctorView(TypedDict):
    findings: list[FindingView]


class FixedView(TypedDict):
    #: Everything that was done, one sentence each.
    fixed: list[str]
    #: Everything that is still wrong.
    findings: list[FindingView]


class ExperimentsView(TypedDict):
    experiments: list[ExperimentSummary]


class TrialsView(TypedDict):
    #: Newest first.
    trials: list[TrialView]
    #: Ask with this ``before`` for the next page; None when this is the last one.
    before: int | None


class BestsView(TypedDict):
    best: list[BestView]


class HostsView(TypedDict):
    hosts: list[HostView]


#: "snapshot" (first on each stream) and "lost" come from the socket, the others from the daemon.
EventName = Literal[
    "snapshot",
    "lost",
    "host-state",
    "experiment-taken",
    "experiment-rejected",
    "experiment-state",
    "trial-started",
    "trial-ended",
    "database-away",
    "database-back",
]


class EventFields(TypedDict, total=False):
    """The keys of an event besides its name, time and host.

    docs/reference/protocol.md says which event has which.
    """

    #: Of a host or of an experiment, after the event.
    state: str
    note: str
    #: The file's name in the spool, without directories.
    file: str
    message: str
    experiment: str
    trial: int
    slot: int
    attempt: int
    params: Params
    values: list[float] | None
    failure: FailureView | None
    duplicate_of: TwinView | None
    #: How many events this reader lost, because it did not read fast enough.
    count: int
    status: Status


class Event(EventFields):
    """One line of the event stream."""

    time: str
    event: EventName
    host: str


class StateView(TypedDict):
    """The answer to drain and abort: the host's state after it."""

    state: HostStateName


class ProblemView(TypedDict):
    """errors.Problem."""

    file: str
    key: str
    found: str
    expected: str


class ErrorBody(TypedDict):
    #: A word that does not change with versions; see docs/reference/protocol.md.
    code: str
    #: For people: what could not be done, and what would have to be different.
    message: str
    #: With code "invalid": each thing that is wrong.
    problems: NotRequired[list[ProblemView]]


class ErrorView(TypedDict):
    error: ErrorBody
