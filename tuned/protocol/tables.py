"""The shapes of trials as rows of a table, on their way out of the database and into it."""

from typing import NotRequired, TypedDict

from tuned.protocol.fields import DirectionName, Measured, Params, Time, TrialStateName, TrustedOnly
from tuned.protocol.trials import ReportView


class ExportedTrial(TypedDict):
    number: int
    state: TrialStateName
    values: list[Measured] | None
    started: Time | None
    ended: Time | None
    params: Params
    #: By name; those above 0 are violated.
    constraints: dict[str, Measured]
    #: Each value as JSON text.
    user_attrs: NotRequired[TrustedOnly[dict[str, str]]]
    #: At most 100 of its intermediate values, evenly, in the order of their steps, if they are asked for.
    reports: NotRequired[list[ReportView]]


class DistributionView(TypedDict):
    """One range of a parameter. In a study that people have joined, a parameter may have several."""

    name: str
    #: Optuna's, as its JSON text.
    distribution: str


class ExportView(TypedDict):
    directions: list[DirectionName]
    #: Of the parameters of these trials.
    distributions: list[DistributionView]
    #: Oldest first.
    trials: list[ExportedTrial]
    #: Ask with this ``after`` for the next page; None when this is the last one.
    after: int | None


class UnfitView(TypedDict):
    """A row that is no point of the experiment, or has no value."""

    #: Its place among the rows that were sent, from 0.
    row: int
    reason: str


class ImportedView(TypedDict):
    #: How many trials were added.
    imported: int
    #: How many rows are points that have a value already.
    known: int
    unfit: list[UnfitView]
