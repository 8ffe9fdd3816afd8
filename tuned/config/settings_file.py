"""settings_file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from tuned.config.fields import AbsolutePath, Count, Name, Span, SpanOrZero
from tuned.config.gpus import Wanted
from tuned.config.storage_url import normalised, redacted
from tuned.config.toml import Table, refuse
from tuned.config.toml import describe as described

_MOST_GPUS = 1000


_GPUS_EXPECTED = '"auto", a number of GPUs or an array of their ids such as ["0", "1"]'


#: CUDA's own: a number, or a UUID such as GPU-8932f937 or MIG-GPU-8932f937/1/0.
_GPU_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/_.-]{0,99}")


LogFormat = Literal["auto", "journal", "console", "json"]


def _storage(url: str) -> str:
    try:
        return normalised(url)
    except ValueError as error:
        refuse(str(error), described(redacted(url)))


def _mode(value: object) -> int:
    # TOML's 0o660 is an integer; "0660" is what chmod takes.
    if isinstance(value, str) and value and set(value) <= set("01234567"):
        value = int(value, 8)
    if not isinstance(value, int) or isinstance(value, bool) or not 0o600 <= value <= 0o777:
        refuse('permissions that let the owner in, such as "0660"')
    return value if value & 0o600 == 0o600 else refuse('permissions that let the owner in, such as "0660"')


def _gpus(value: object) -> Wanted:
    if value == "auto":
        return "auto"
    if isinstance(value, list):
        if not all(isinstance(each, str) and _GPU_ID.fullmatch(each) for each in value):
            refuse(_GPUS_EXPECTED, "an array of something else")
        return tuple(value) if len(set(value)) == len(value) else refuse("ids that differ", "an id twice")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_GPUS:
        return value
    return refuse(_GPUS_EXPECTED)


class _Heartbeat(Table):
    interval: Span | None = None
    expire: Span | None = None


class _Stop(Table):
    grace: SpanOrZero | None = None


class _Control(Table):
    socket: AbsolutePath | None = None
    mode: Annotated[int, BeforeValidator(_mode)] | None = None


class _Log(Table):
    format: LogFormat | None = None


class _File(Table):
    storage: Annotated[str, AfterValidator(_storage)] | None = None
    spool: AbsolutePath | None = None
    state_dir: AbsolutePath | None = None
    slots: Count | None = None
    gpus: Annotated[Wanted, BeforeValidator(_gpus)] | None = None
    host: Name | None = None
    heartbeat: _Heartbeat = _Heartbeat()
    stop: _Stop = _Stop()
    control: _Control = _Control()
    log: _Log = _Log()


#: The setting behind each key of a file.
_SETTINGS = {
    "storage": "storage",
    "spool": "spool",
    "state_dir": "state_dir",
    "slots": "slots",
    "gpus": "gpus",
    "host": "host",
    "heartbeat.interval": "interval_seconds",
    "heartbeat.expire": "expire_seconds",
    "stop.grace": "grace_seconds",
    "control.socket": "socket",
    "control.mode": "control_mode",
    "log.format": "log_format",
}
