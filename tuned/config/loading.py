"""Where the settings come from: files, the command line and the machine; and what contradicts what.

They are read from the configuration file, then its drop-ins (``tuned.toml.d/*.toml``, sorted; a later key
wins), then from the command line. A password may stand in the file; it must never stand on the command line
or in anything that is printed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuned.config.gpus import VARIABLE
from tuned.config.gpus import find as find_gpus
from tuned.config.paths import Paths, default_paths
from tuned.config.settings import LONGEST_SOCKET, Settings, setting_keys, setting_types
from tuned.config.settings_file import found_files, given_keys
from tuned.config.slurm import task_of
from tuned.config.spans import format_span
from tuned.config.storage_url import has_password, normalised, redacted
from tuned.config.toml import Problems, load_toml, refuse_file
from tuned.config.toml import describe as described
from tuned.config.trials_service import default_user
from tuned.domain.names import NAME, NAME_EXPECTED
from tuned.errors import InvalidInput, Problem

COMMAND_LINE = "command line"

#: WatchdogSec= of the unit: how long a daemon that hangs may live.
_WATCHDOG_SECONDS = 30.0

_ADVICE = (
    "no password there: it can be read by every user; use PGPASSFILE, service= or the configuration file"
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
    task = task_of(environ)
    state_dir = values.pop("state_dir", paths.state_dir)
    settings = Settings(
        state_dir=state_dir,
        storage=values.pop("storage", f"sqlite:///{state_dir}/tuned.db"),
        spool=values.pop("spool", paths.spool),
        socket=values.pop("socket", paths.socket),
        slots=values.pop("slots", (task and task.cpus) or len(os.sched_getaffinity(0))),
        looks_for_gpus=values.get("gpus", "auto") == "auto" and VARIABLE not in environ,
        gpus=find_gpus(values.pop("gpus", "auto"), environ),
        host=values.pop("host", task.host if task else os.uname().nodename),
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
    if settings.notify_command is not None and settings.notify_url is not None:
        refuse_setting("notify_command", "a command and an address", "either notify.command or notify.url")
    if (length := len(os.fsencode(settings.socket))) > LONGEST_SOCKET:
        refuse_setting("socket", f"a path of {length} bytes", f"at most {LONGEST_SOCKET}, the kernel's limit")
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
