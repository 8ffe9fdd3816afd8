"""The shapes of the fleet: its hosts, and what the doctor finds."""

from typing import Literal, TypedDict

from tuned.protocol.fields import HostStateName, OffView


class HostView(TypedDict):
    """One host of the fleet, as the database and this host see it."""

    name: str
    state: HostStateName
    slots: int
    #: The cards that it gives out.
    gpus: int
    #: Words for what it has: an experiment may ask for some.
    labels: list[str]
    #: None while it works.
    off: OffView | None
    #: On which experiments it does not work, each with the reason.
    resting: list[str]
    #: Its trials that are RUNNING in the database; of a dead host: those that nobody has settled yet.
    running: int
    #: How long ago the answering host saw its counter move; None: it has not looked since it started.
    beat_age_seconds: float | None
    version: str
    optuna_version: str
    #: The columns of its row that cannot be read, for people; empty if all can.
    unreadable: str


class HostReply(TypedDict):
    """The answer of a host that was asked on another one's socket."""

    host: str
    #: Its state after it obeyed, or that to which it comes back.
    state: HostStateName
    #: How long after it was asked.
    seen_seconds: float


class FindingView(TypedDict):
    """One thing to look at, as ``doctor`` tells it."""

    #: A fault is wrong and should be mended. A note is worth to know, and may stay as it is.
    kind: Literal["fault", "note"]
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
    #: Everything that is left to look at.
    findings: list[FindingView]


class HostsView(TypedDict):
    hosts: list[HostView]
