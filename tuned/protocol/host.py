"""The shape of one host: its slots, cards, database and state."""

from typing import Literal, NotRequired, TypedDict

from tuned.protocol.experiments import ExperimentSummary
from tuned.protocol.fields import AbsolutePath, HostStateName, OffView, TrustedOnly
from tuned.protocol.trials import ReportView


class RunView(TypedDict):
    experiment: str
    trial: int
    #: Which of ``replicates`` it is, from 1; both are 1 without ``[replicates]``.
    replicate: int
    replicates: int
    attempt: int
    seconds: float
    #: Its newest intermediate value; None without one.
    report: ReportView | None
    #: The ids of the cards that it was given.
    gpus: list[str]
    #: An earlier daemon began it.
    is_adopted: bool
    #: The last line that it printed, empty before one; only if it is asked for.
    last_line: NotRequired[TrustedOnly[str]]


class SlotView(TypedDict):
    """One slot of this host; ``running`` is None when it is idle."""

    slot: int
    running: RunView | None


class GpuView(TypedDict):
    """One card that this host gives out."""

    #: As in CUDA_VISIBLE_DEVICES.
    id: str
    #: From 0, free, to 1: how much of it trials have.
    used: float
    #: Others compute on it, so it is not given out for now.
    is_left: bool


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
    #: Whether systemd runs it as a service, with a private /tmp and without homes.
    is_service: bool
    uptime_seconds: float
    isolation: Literal["cgroup", "best-effort"]
    #: The limits that this host can keep: of memory, cpus and pids.
    limits: list[str]
    #: The user as whom trials run; None: the daemon's own, so that they may do all that it may.
    trials_user: str | None
    gpus: list[GpuView]
    #: In which it works, as its settings have them, in its local time; empty: always.
    hours: list[str]
    #: None while it works.
    off: OffView | None
    #: ``tunectl submit`` puts files there.
    spool: AbsolutePath
    database: DatabaseView
    slots: list[SlotView]
    #: The open and the paused ones.
    experiments: list[ExperimentSummary]
    #: Things that a person should look at, one sentence each.
    warnings: list[str]


class StateView(TypedDict):
    """The answer to drain and abort: the host's state after it."""

    state: HostStateName
