"""The shapes of trials: rows of a page, one trial's story, the best ones."""

from typing import Literal, NotRequired, TypedDict

from tuned.protocol.fields import Measured, Params, Time, TrialStateName, TrustedOnly


class FailureView(TypedDict):
    """Why a trial failed: the user attribute ``FAILURE``."""

    cause: str
    #: For people. May quote what the trial printed.
    message: NotRequired[TrustedOnly[str]]


class PrunedView(TypedDict):
    """Why a rule ended a trial: the user attribute ``PRUNED``."""

    #: The pruner of the experiment, by name.
    rule: str
    #: Of the report that it looked at.
    step: int
    value: Measured
    #: The value that would have let it go on; None if the rule has none.
    bound: Measured | None


class TwinView(TypedDict):
    """The trial that a duplicate is a duplicate of."""

    number: int
    host: str | None


class BestView(TypedDict):
    """A best trial. With several objectives: one of the front."""

    number: int
    values: list[Measured]
    params: Params
    host: str | None
    #: By name; those above 0 are violated.
    constraints: dict[str, Measured]


class ReportView(TypedDict):
    """One intermediate value."""

    step: int
    value: Measured


class TrialView(TypedDict):
    number: int
    state: TrialStateName
    params: Params
    values: list[Measured] | None
    host: str | None
    duplicate_of: TwinView | None
    failure: FailureView | None
    #: None if no rule pruned it.
    pruned: PrunedView | None
    started: Time | None
    #: Its evaluation, by the clock of its host. The database may have learned of it later.
    ended: Time | None
    seconds: float | None
    #: 1 for the first evaluation, one more for each retry.
    attempt: int
    #: Of a running trial: the intermediate value of its highest step, some seconds old. None without one.
    report: ReportView | None
    #: By name; those above 0 are violated.
    constraints: dict[str, Measured]


class PointView(TypedDict):
    """One point, as the database has it now."""

    state: Literal["free", "held", "done", "failed", "pruned"]
    #: The trial that holds it, or held it last, and its host; None if nobody ever did.
    trial: int | None
    host: str | None
    #: That trial has the value of this one, which came too late.
    late_of: int | None
    #: How often it was lost.
    losses: int


class RevisionView(TypedDict):
    """One replacement of an experiment's definition, or of one host's own keys."""

    #: From 2.
    revision: int
    since: str
    #: The user who asked, and the host that was asked.
    user: str
    host: str
    #: In words, one for each key. They name local paths.
    changes: NotRequired[TrustedOnly[list[str]]]


class ReplicatesView(TypedDict):
    """The evaluations of one trial's point, of which its values are made."""

    #: So many were wanted.
    count: int
    #: The word of the file.
    reduce: str
    #: Of each that has values, in their order.
    values: list[list[Measured]]


class StoryView(TypedDict):
    """One trial, as ``explain`` tells it."""

    trial: TrialView
    #: Where its point came from: sampler, points, enqueued, freed, walk, or late; None: another program's.
    origin: str | None
    #: The experiment's sampler, by name.
    sampler: str
    #: Of the definition under which it was evaluated; None if no host of ours did.
    revision: int | None
    #: Of the definition now.
    revision_now: int
    #: The digest of the snapshot of its code; None if it had none.
    code: str | None
    #: How that revision came about; None for the first.
    replacement: RevisionView | None
    #: Why earlier attempts crashed, oldest first.
    retried: list[FailureView]
    #: None without ``[replicates]``.
    replicates: ReplicatesView | None
    #: The trial whose value this is, which came too late for it.
    late_of: int | None
    #: How many daemons of its host have gone on with it after the one that began it.
    adoptions: int
    #: How many intermediate values it has, and at most 100 of them, evenly, in the order of their steps.
    reported: int
    reports: list[ReportView]
    #: None if its parameters are not a point of the experiment's space.
    point: PointView | None
    #: The file with its output on the answering host; None if there is none.
    output: str | None


class TrialsView(TypedDict):
    #: Newest first.
    trials: list[TrialView]
    #: Ask with this ``before`` for the next page; None when this is the last one.
    before: int | None


class ImprovementView(TypedDict):
    """A trial that was better than all before it."""

    number: int
    #: The first one; always finite.
    value: float


class ImprovementsView(TypedDict):
    """How the best value came about."""

    #: In the order of their numbers; at most 100, evenly, the first and the last included.
    improvements: list[ImprovementView]


class BestsView(TypedDict):
    #: Only feasible ones.
    best: list[BestView]
    #: The trial that violates least, if there are values and none is feasible.
    nearest: BestView | None
