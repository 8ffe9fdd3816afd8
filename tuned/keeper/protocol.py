"""The messages between the daemon and its keeper: JSON, one object a line, in both directions.

The daemon says hello first, and the keeper answers ready once it can begin a run. In all versions, hello is
the same, and so are kind, version and pid of ready: by that, the daemon knows the keeper's version, and
speaks it from then on if it understands it. The daemon does not trust a run's program, but both sides trust
each other: they are of one house, and only their versions may differ. This room owns the shapes, and turns
values into JSON and back; it must never do anything else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from tuned.domain.ending import Cause, Ending, Failure, Pruning
from tuned.domain.resources import Limits
from tuned.keeper.chores import Work
from tuned.systemd.log import Format
from tuned.trial.cgroup import Root
from tuned.trial.curve import CurveState
from tuned.trial.fork_servers import ServerProgram
from tuned.trial.keeping import Run
from tuned.trial.launch import Launch

#: Of these messages.
VERSION = 1

#: The oldest that this daemon understands in a keeper.
OLDEST = 1


class UnknownVersion(Exception):
    """The keeper speaks a version that this daemon does not know."""

    def __init__(self, pid: int, version: int) -> None:
        super().__init__(
            f"the keeper of this host (pid {pid}) speaks version {version} of its protocol, and this daemon "
            f"versions {OLDEST} to {VERSION}"
        )


class Hello(TypedDict):
    """The daemon's first message: who it is, and what the keeper needs to know of its host."""

    kind: Literal["hello"]
    version: int
    installation: str
    #: The keeper's own, of which only one keeper holds the lock.
    directory: str
    #: The group in which those of runs are made; None without control groups.
    cgroups: str | None
    slots: int
    host: str
    log_format: Format
    #: So long it goes on without a daemon.
    patience_seconds: float


class Begin(TypedDict):
    """Carry out a run, and forget the one that it follows."""

    kind: Literal["begin"]
    key: str
    run: Run
    #: A rule looks at it, and may end it.
    is_judged: bool
    #: The objective whose values its curve has.
    watched: int


class Forget(TypedDict):
    """The ending of a run is safe."""

    kind: Literal["forget"]
    key: str


class End(TypedDict):
    """Kill a run."""

    kind: Literal["end"]
    key: str


class Prune(TypedDict):
    """End a run by a rule, if it has no result."""

    kind: Literal["prune"]
    key: str
    pruning: Pruning


class Note(TypedDict):
    """Keep these notes of the daemon on a run, instead of the last ones, for the next daemon."""

    kind: Literal["note"]
    key: str
    notes: Mapping[str, Any]


class Reply(TypedDict):
    """The answer to the newest question of a run."""

    kind: Literal["reply"]
    key: str
    answer: object


class Keep(TypedDict):
    """Let go of the processes from which no run of these studies is forked; None stands for all commands."""

    kind: Literal["keep"]
    studies: list[str | None]


class Resize(TypedDict):
    """So many runs come at a time from now on."""

    kind: Literal["resize"]
    slots: int


class Log(TypedDict):
    """Write log records in this form from now on."""

    kind: Literal["log"]
    log_format: Format


class Flush(TypedDict):
    """Say when the output of all runs that have ended is in their files."""

    kind: Literal["flush"]


class DoChore(TypedDict):
    """Go on for a moment with work on the files of trials, or begin it."""

    kind: Literal["chore"]
    number: int
    work: Work
    of: Mapping[str, Any]


class Ping(TypedDict):
    """Say that you are there."""

    kind: Literal["ping"]


class Stop(TypedDict):
    """Kill all that is left, and end."""

    kind: Literal["stop"]


class Ready(TypedDict):
    """The keeper's first message: from now on it carries out runs."""

    kind: Literal["ready"]
    version: int
    pid: int
    #: Of the whole package.
    release: str
    #: Of a service, which is not the daemon's child.
    surroundings: Surroundings | None
    #: Those that it has from earlier daemons.
    runs: list[KeptRun]


class Surroundings(TypedDict):
    """Facts that only a service knows of itself."""

    #: The group in which those of runs are made, and the controllers that these have; None without groups.
    cgroups: Root | None
    #: Why it has no control groups.
    reason: str
    #: A run's begins with it.
    environment: Mapping[str, str]
    #: The ids of those that are there.
    gpus: list[str]


class Reports(TypedDict):
    """Steps and values that a run has reported since the last ones."""

    kind: Literal["reports"]
    key: str
    reports: list[tuple[int, list[float]]]


class Question(TypedDict):
    """A question of a Python objective; it waits for the reply."""

    kind: Literal["question"]
    key: str
    question: str


class Unforked(TypedDict):
    """The module of a run's objective cannot be forked."""

    kind: Literal["unforked"]
    key: str
    reason: str


class Withdrawn(TypedDict):
    """A run had its result before it was to be pruned."""

    kind: Literal["withdrawn"]
    key: str


class Ended(TypedDict):
    """A run is gone with all its tree; it has no ending if it was killed on demand."""

    kind: Literal["ended"]
    key: str
    ending: Ending | None


class Unbegun(TypedDict):
    """This host cannot begin a run: the parts of an OSError."""

    kind: Literal["unbegun"]
    key: str
    arguments: list[Any]
    filename: str | None


class Failed(TypedDict):
    """A fault of the keeper itself in a run."""

    kind: Literal["failed"]
    key: str
    reason: str


class Flushed(TypedDict):
    """The output is in the files."""

    kind: Literal["flushed"]


class ChoreStep(TypedDict):
    """So far came the newest step of a chore."""

    kind: Literal["step"]
    number: int
    found: list[Any]
    is_done: bool
    #: The parts of an OSError, and then it is over.
    error: list[Any] | None


class Pong(TypedDict):
    """The keeper is there."""

    kind: Literal["pong"]


class KeptRun(TypedDict):
    """A run from the beginning until its daemon has forgotten it: all that another daemon must know of it."""

    key: str
    context: object
    #: Since it began.
    seconds: float
    is_judged: bool
    curve: CurveState
    #: The daemon's newest.
    notes: Mapping[str, Any]
    #: It is to end by a rule.
    pruning: Pruning | None
    #: It waits for the reply.
    question: str | None
    #: The last message about it, once it is gone with all its tree.
    last: Ended | Unbegun | Failed | None


ToKeeper = (
    Hello | Begin | Forget | End | Prune | Note | Reply | Keep | Resize | Log | Flush | DoChore | Ping | Stop
)

Last = Ended | Unbegun | Failed

OfRun = Reports | Question | Unforked | Withdrawn | Last

ToDaemon = Ready | Flushed | ChoreStep | Pong | OfRun


def encoded(message: ToKeeper | ToDaemon) -> bytes:
    """One line."""
    return json.dumps(message, default=_plain).encode() + b"\n"


def to_keeper(line: bytes) -> ToKeeper:
    """A message of a daemon."""
    message: Any = json.loads(line)
    match message["kind"]:
        case "begin":
            message["run"] = _run(message["run"])
        case "prune":
            message["pruning"] = Pruning(**message["pruning"])
    found: ToKeeper = message
    return found


def to_daemon(line: bytes) -> ToDaemon:
    """A message of a keeper. Raises UnknownVersion."""
    message: Any = json.loads(line)
    if message["kind"] == "ready":
        if not OLDEST <= message["version"] <= VERSION:
            raise UnknownVersion(message["pid"], message["version"])
        message["runs"] = [_kept_run(each) for each in message["runs"]]
        if around := message["surroundings"]:
            around["cgroups"] = _root(around["cgroups"])
    found: ToDaemon = _last(message)
    return found


def record(run: KeptRun) -> bytes:
    """For the disk."""
    return json.dumps(run, default=_plain).encode()


def recorded(content: bytes) -> KeptRun:
    """Raises ValueError, KeyError or TypeError if it is no record."""
    return _kept_run(json.loads(content))


def _plain(value: object) -> object:
    """A value that JSON has no word for, one level deep."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value)


def _kept_run(found: Any) -> KeptRun:
    curve, pruning, last = found["curve"], found["pruning"], found["last"]
    kept: KeptRun = found
    curve["kept"] = [(step, value) for step, value in curve["kept"]]
    kept["pruning"] = pruning and Pruning(**pruning)
    kept["last"] = last and _last(last)
    return kept


def _last(message: Any) -> Any:
    if message["kind"] == "ended" and message["ending"] is not None:
        message["ending"] = _ending(message["ending"])
    return message


def _run(found: Any) -> Run:
    program = found["program"]
    if program is not None:
        program = ServerProgram(**{**program, "argv": tuple(program["argv"])})
    return Run(**{**found, "launch": _launch(found["launch"]), "program": program})


def _launch(found: Any) -> Launch:
    return Launch(
        **{
            **found,
            "argv": tuple(found["argv"]),
            "workdir": Path(found["workdir"]),
            "log": Path(found["log"]),
            "cgroups": _root(found["cgroups"]),
            "limits": Limits(**found["limits"]),
            "directories": tuple(map(Path, found["directories"])),
            "removed_if_empty": tuple(map(Path, found["removed_if_empty"])),
        }
    )


def _root(found: Any) -> Root | None:
    return found and Root(Path(found["path"]), frozenset(found["controllers"]))


def _ending(found: Any) -> Ending:
    values, failure, pruning = found["values"], found["failure"], found["pruning"]
    return Ending(
        values=None if values is None else tuple(values),
        failure=failure and Failure(**{**failure, "cause": Cause(failure["cause"])}),
        is_pruned=found["is_pruned"],
        pruning=pruning and Pruning(**pruning),
        stops_search=found["stops_search"],
        intermediate={int(step): value for step, value in found["intermediate"].items()},
        user_attrs=found["user_attrs"],
        constraints=found["constraints"],
        ended=found["ended"],
    )
