"""The daemon's settings: frozen. Each key of the file, and each default, stands here and nowhere else.

They are read from the configuration file, then its drop-ins (``tuned.toml.d/*.toml``, sorted; a later key
wins), then from the command line. A password may stand in the file; it must never stand on the command line
or in anything that is printed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from tuned.config.fields import Count, Name, Size, Span, SpanOrZero
from tuned.config.gpus import VARIABLE
from tuned.config.gpus import find as find_gpus
from tuned.config.paths import Paths, default_paths
from tuned.config.settings_file import (
    Address,
    Directory,
    Gpus,
    Key,
    Labels,
    LogFormat,
    Mode,
    Storage,
    UserName,
    found_files,
    given_keys,
)
from tuned.config.spans import format_span
from tuned.config.storage_url import has_password, normalised, redacted
from tuned.config.toml import Problems, load_toml, refuse_file
from tuned.config.toml import describe as described
from tuned.config.trials_service import TRIALS_USER, TrialsService, default_user
from tuned.domain.names import NAME, NAME_EXPECTED
from tuned.domain.retention import Keep
from tuned.errors import InvalidInput, Problem

__all__ = ["Settings", "load", "redacted", "setting_keys", "setting_types"]

COMMAND_LINE = "command line"

#: WatchdogSec= of the unit: how long a daemon that hangs may live.
_WATCHDOG_SECONDS = 30.0

#: sun_path, less its NUL.
_LONGEST_SOCKET = 107

_ADVICE = (
    "no password there: it can be read by every user; use PGPASSFILE, service= or the configuration file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values that the daemon runs with."""

    storage: Annotated[
        Storage,
        Key(
            name="storage",
            description="SQLAlchemy URL of the database: `postgresql://host/database` (also `postgres://`) "
            "or `sqlite:////absolute/path.db`.",
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
            default="the CPUs that the daemon may use",
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
    host: Annotated[
        Name,
        Key(name="host", description="This host's name in the fleet.", default="the machine's name"),
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
    accepts: Annotated[
        bool,
        Key(
            name="fleet.accept",
            description="Whether this host works on experiments that were dropped on other hosts; otherwise "
            "only on those that are dropped on it.",
            is_reloaded=True,
        ),
    ] = True
    socket: Annotated[
        Directory,
        Key(
            name="control.socket",
            description=f"The control socket; at most {_LONGEST_SOCKET} bytes.",
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
    def keep(self) -> Keep:
        return Keep(
            output_seconds=self.keep_output_seconds,
            checkpoints_seconds=self.keep_points_seconds,
            size_bytes=self.keep_size_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A value that somebody gave, and where, for errors."""

    value: Any
    file: str
    key: str


def load(
    config: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: object
) -> Settings:
    """The settings. ``overrides`` are the command line's options by name; None is one that was not given.

    Raises InvalidInput with all problems; a file that was named must exist, the default one need not.
    """
    environ = os.environ if environ is None else environ
    paths = default_paths(environ)
    files = found_files(config or paths.config, is_required=config is not None)
    problems: list[Problem] = []
    given: dict[str, _Given] = {}
    for file in files:
        try:
            given |= _read(file)
        except InvalidInput as error:
            problems += error.problems
    try:
        given |= _command_line(overrides)
    except InvalidInput as error:
        problems += error.problems
    settings = _settings(given, paths, files, environ)
    problems += _contradictions(settings, given)
    if problems:
        raise InvalidInput(*problems)
    return settings


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


def _read(file: Path) -> dict[str, _Given]:
    try:
        content = file.read_bytes()
    except OSError as error:
        refuse_file(str(file), f"that it cannot be read ({error.strerror})", "a file of settings")
    problems = Problems(str(file))
    names = {key.name: name for name, key in setting_keys().items()}
    given = {}
    for key, raw in given_keys(load_toml(content, str(file)), names, problems):
        value = problems.value(setting_types()[names[key]], raw, key)
        given[names[key]] = _Given(value=value, file=str(file), key=key)
    problems.raise_if_any()
    return given


def _command_line(options: Mapping[str, object]) -> dict[str, _Given]:
    problems = Problems(COMMAND_LINE)
    given = {}
    for name, option in options.items():
        if option is None:
            continue
        key = "--" + name.replace("_", "-")
        value = option.absolute() if isinstance(option, Path) else option
        if name == "storage" and isinstance(option, str):
            value = _storage_option(option, key, problems)
        given[name] = _Given(value=value, file=COMMAND_LINE, key=key)
    problems.raise_if_any()
    return given


def _storage_option(url: str, key: str, problems: Problems) -> str:
    if has_password(url):
        problems.add(key, described(redacted(url)), _ADVICE)
    try:
        return normalised(url)
    except ValueError as error:
        problems.add(key, described(redacted(url)), str(error))
        return ""


def _settings(
    given: Mapping[str, _Given], paths: Paths, files: tuple[Path, ...], environ: Mapping[str, str]
) -> Settings:
    values = {name: one.value for name, one in given.items()}
    state_dir = values.pop("state_dir", paths.state_dir)
    settings = Settings(
        state_dir=state_dir,
        storage=values.pop("storage", f"sqlite:///{state_dir}/tuned.db"),
        spool=values.pop("spool", paths.spool),
        socket=values.pop("socket", paths.socket),
        slots=values.pop("slots", len(os.sched_getaffinity(0))),
        looks_for_gpus=values.get("gpus", "auto") == "auto" and VARIABLE not in environ,
        gpus=find_gpus(values.pop("gpus", "auto"), environ),
        host=values.pop("host", os.uname().nodename),
        trials_user=values.pop("trials_user", default_user(environ)),
        files=files,
        **values,
    )
    return _with_warnings(settings)


def _contradictions(settings: Settings, given: Mapping[str, _Given]) -> list[Problem]:
    """The problems of settings that contradict each other, each told with the file that set it."""
    found: list[Problem] = []

    def refuse_setting(name: str, what: str, expected: str) -> None:
        one = given.get(name)
        key = one.key if one else setting_keys()[name].name
        found.append(Problem(file=one.file if one else "default", key=key, found=what, expected=expected))

    if not NAME.fullmatch(settings.host):
        refuse_setting("host", described(settings.host), NAME_EXPECTED)
    if settings.expire_seconds <= settings.interval_seconds:
        limit = f"more than heartbeat.interval ({format_span(settings.interval_seconds)})"
        name = "expire_seconds" if "expire_seconds" in given else "interval_seconds"
        expected = limit if name == "expire_seconds" else f"less than {format_span(settings.expire_seconds)}"
        refuse_setting(name, format_span(getattr(settings, name)), expected)
    if settings.grace_seconds >= settings.expire_seconds:
        limit = f"less than heartbeat.expire ({format_span(settings.expire_seconds)})"
        refuse_setting("grace_seconds", format_span(settings.grace_seconds), limit)
    wanted = given["gpus"].value if "gpus" in given else 0
    if isinstance(wanted, int) and len(settings.gpus) < wanted:
        refuse_setting("gpus", str(wanted), f"at most {len(settings.gpus)}, as {VARIABLE} says")
    if (length := len(os.fsencode(settings.socket))) > _LONGEST_SOCKET:
        refuse_setting(
            "socket", f"a path of {length} bytes", f"at most {_LONGEST_SOCKET}, the kernel's limit"
        )
    return found


def _with_warnings(settings: Settings) -> Settings:
    warnings = []
    least = _WATCHDOG_SECONDS + settings.grace_seconds
    if settings.expire_seconds <= least:
        warnings.append(
            f"heartbeat.expire is {format_span(settings.expire_seconds)}: above {format_span(least)} "
            "(watchdog and stop.grace), no other host takes a point whose process may still run here"
        )
    return replace(settings, warnings=tuple(warnings))
