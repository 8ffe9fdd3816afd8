"""The daemon's settings: frozen. Each key of the file, and each default, stands here and nowhere else.

``loading`` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from tuned.config.fields import Count, Name, Size, Span, SpanOrZero
from tuned.config.hours import ALWAYS
from tuned.config.notify import Command, Events, Url
from tuned.config.settings_file import (
    Address,
    CardsInUse,
    Directory,
    Gpus,
    Key,
    Labels,
    LogFormat,
    Mode,
    Storage,
    UserName,
    WhenOver,
    WorkingHours,
)
from tuned.config.trials_service import TRIALS_USER, TrialsService
from tuned.domain.news.notices import NO_WISHES, Wishes
from tuned.domain.retention import Keep

#: sun_path, less its NUL.
LONGEST_SOCKET = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values that the daemon runs with."""

    storage: Annotated[
        Storage,
        Key(
            name="storage",
            description="SQLAlchemy URL of the database: `postgresql://host/database` (also `postgres://`) "
            "or `sqlite:////absolute/path.db`. Several servers, of which one is the primary, as libpq takes "
            "them: `postgresql://host1:5432,host2:5432/database`.",
            default="`sqlite:///` and `tuned.db` in the state directory",
        ),
    ] = field(repr=False)
    spool: Annotated[
        Directory,
        Key(
            name="spool",
            description="The directory into which experiment files are dropped.",
            default="`/var/spool/tuned`, or `spool` in a user's state directory",
        ),
    ]
    state_dir: Annotated[
        Directory,
        Key(
            name="state_dir",
            description="The embedded database, results that are not told yet, and logs of trials.",
            default="`/var/lib/tuned`, or a user's `$XDG_STATE_HOME/tuned`",
        ),
    ]
    slots: Annotated[
        Count,
        Key(
            name="slots",
            description="Evaluations at once.",
            default="the CPUs that the daemon may use; in a Slurm job those of `--cpus-per-task`, if given",
            is_reloaded=True,
        ),
    ]
    gpus: Annotated[
        Gpus,
        Key(
            name="gpus",
            description="The GPUs that trials are given.",
            default='`"auto"`',
            is_reloaded=True,
        ),
    ] = ()
    gpus_in_use: Annotated[
        CardsInUse,
        Key(
            name="gpus_in_use",
            description="`leave`: a GPU on which a process computes that is no trial of this host is not "
            "given out, as far as NVML can tell. `use`: nobody asks.",
            is_reloaded=True,
        ),
    ] = "use"
    host: Annotated[
        Name,
        Key(
            name="host",
            description="This host's name in the fleet.",
            default="the machine's name; in a Slurm job `NODE-JOB.STEP.TASK`",
        ),
    ]
    labels: Annotated[
        Labels,
        Key(
            name="labels",
            description="Words for what this host has, such as `a100`: an experiment may ask for some in its "
            "`[fleet] labels`.",
            is_reloaded=True,
        ),
    ] = ()
    interval_seconds: Annotated[
        Span, Key(name="heartbeat.interval", description="How often this host says that it is alive.")
    ] = 10.0
    expire_seconds: Annotated[
        Span,
        Key(
            name="heartbeat.expire",
            description="How long another host may be silent before its trials are lost; more than the "
            "interval.",
        ),
    ] = 90.0
    grace_seconds: Annotated[
        SpanOrZero,
        Key(
            name="stop.grace",
            description="The time between SIGTERM and SIGKILL for a trial's processes at an abort or a "
            "timeout; 0: SIGKILL at once; less than `heartbeat.expire`.",
        ),
    ] = 0.0
    patience_seconds: Annotated[
        Span,
        Key(
            name="keeper.patience",
            description="How long trials run on without a daemon. Then their keeper kills them, and ends.",
        ),
    ] = 600.0
    trials_user: Annotated[
        UserName,
        Key(
            name="trials.user",
            description="The user as whom trials run, by the service of that name. Empty: the daemon's own "
            "user, and the daemon begins their keeper itself.",
            default=f"`{TRIALS_USER}` as a service, if there is such a user; otherwise empty",
        ),
    ] = ""
    keep_output_seconds: Annotated[
        Span | None,
        Key(
            name="keep.output",
            description="How long the output of an experiment's trials, and what they left in directories of "
            "their own, stays on this host after the experiment's end.",
            default="for good",
            is_reloaded=True,
        ),
    ] = None
    keep_points_seconds: Annotated[
        Span | None,
        Key(
            name="keep.points",
            description="The same for checkpoints: the directories of points (`TUNED_POINT_DIR`).",
            default="for good",
            is_reloaded=True,
        ),
    ] = None
    keep_size_bytes: Annotated[
        Size | None,
        Key(
            name="keep.size",
            description="How much output and checkpoints of all experiments may take; beyond it, those of "
            "experiments that have ended go, of the one that ended first and the oldest of it first.",
            default="no limit",
            is_reloaded=True,
        ),
    ] = None
    hours: Annotated[
        WorkingHours,
        Key(
            name="work.hours",
            description="When this host works: spans of its local time, maybe of some days only; one that "
            "ends earlier than it begins goes on over midnight. At other times it starts nothing.",
            default="always",
            is_reloaded=True,
        ),
    ] = ALWAYS
    when_over: Annotated[
        WhenOver,
        Key(
            name="work.when_over",
            description="`finish`: trials that still run at the end of these hours go on to their own end. "
            "`abort`: they are killed, refunded, and their points are free again.",
            is_reloaded=True,
        ),
    ] = "finish"
    accepts: Annotated[
        bool,
        Key(
            name="fleet.accept",
            description="Whether this host works on experiments that were dropped on other hosts; otherwise "
            "only on those that are dropped on it.",
            is_reloaded=True,
        ),
    ] = True
    notify_on: Annotated[
        Events,
        Key(
            name="notify.on",
            description="The events of experiments without a table `[notify]` of their own of which people "
            "are told.",
            is_reloaded=True,
        ),
    ] = ("done", "failed")
    notify_command: Annotated[
        Command | None,
        Key(
            name="notify.command",
            description="A program and its arguments that tell people: run as the user of trials, with JSON "
            "on standard input.",
            default="none",
            is_reloaded=True,
        ),
    ] = field(default=None, repr=False)
    notify_url: Annotated[
        Url | None,
        Key(
            name="notify.url",
            description="The address to which JSON is sent instead, by POST.",
            default="none",
            is_reloaded=True,
        ),
    ] = field(default=None, repr=False)
    socket: Annotated[
        Directory,
        Key(
            name="control.socket",
            description=f"The control socket; at most {LONGEST_SOCKET} bytes.",
            default="`/run/tuned/tuned.sock`, or a user's `$XDG_RUNTIME_DIR/tuned/tuned.sock`",
        ),
    ]
    control_mode: Annotated[
        Mode,
        Key(
            name="control.mode",
            description="Permissions of the socket; each request that changes something is checked in any "
            "case.",
        ),
    ] = 0o666
    metrics_listen: Annotated[
        Address,
        Key(
            name="metrics.listen",
            description="Prometheus can read `/metrics` there over TCP, and nothing else; so can "
            "anybody who reaches the port. Empty: nowhere.",
        ),
    ] = ""
    log_format: Annotated[
        LogFormat, Key(name="log.format", description="The form of log records.", is_reloaded=True)
    ] = "auto"
    #: Nobody says which GPUs there are, so that they are looked for.
    looks_for_gpus: bool = False
    #: Of values that are accepted, but not wise.
    warnings: tuple[str, ...] = ()
    #: The files that were read, the last one wins.
    files: tuple[Path, ...] = ()

    @property
    def trials_service(self) -> TrialsService | None:
        return TrialsService.of(self.trials_user)

    @property
    def wishes(self) -> Wishes:
        """The table [notify]."""
        wishes = Wishes(on=frozenset(self.notify_on), url=self.notify_url, command=self.notify_command)
        return wishes if wishes.has_way else NO_WISHES

    @property
    def keep(self) -> Keep:
        return Keep(
            output_seconds=self.keep_output_seconds,
            checkpoints_seconds=self.keep_points_seconds,
            size_bytes=self.keep_size_bytes,
        )


@cache
def setting_types() -> Mapping[str, Any]:
    """The type of each setting that has a key, with pydantic's metadata."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint for name, hint in hints.items() if any(isinstance(m, Key) for m in get_args(hint)[1:])}


def setting_keys() -> Mapping[str, Key]:
    """The key of each setting, in the order of the file."""
    return {
        name: next(part for part in get_args(hint)[1:] if isinstance(part, Key))
        for name, hint in setting_types().items()
    }
