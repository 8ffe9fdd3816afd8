"""The shape of an event."""

from typing import Annotated, Literal, TypedDict

from tuned.protocol.disk import RemovedView
from tuned.protocol.fields import OPEN, Measured, Params, Time
from tuned.protocol.host import Status
from tuned.protocol.trials import FailureView, PrunedView, ReportView, TwinView

#: "snapshot" (first on each stream) and "lost" come from the socket, the others from the daemon.
EventName = Literal[
    "snapshot",
    "lost",
    "host-state",
    "experiment-taken",
    "experiment-rejected",
    "experiment-same",
    "experiment-state",
    "trial-started",
    "trial-reported",
    "trial-ended",
    "files-removed",
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
    #: Of an experiment: why it ends or has ended.
    ended_by: str | None
    #: The file's name in the spool, without directories.
    file: str
    message: str
    experiment: str
    trial: int
    slot: int
    attempt: int
    params: Params
    values: list[Measured] | None
    #: The newest intermediate value.
    report: ReportView
    failure: FailureView | None
    #: Of a trial that ended after an evaluation; None if no rule pruned it.
    pruned: PrunedView | None
    duplicate_of: TwinView | None
    #: How many events this reader lost, because it did not read fast enough.
    count: int
    status: Status
    #: Output or checkpoints of an experiment that has ended.
    removed: RemovedView


class Event(EventFields):
    """One line of the event stream."""

    time: Time
    event: Annotated[EventName, OPEN]
    host: str
