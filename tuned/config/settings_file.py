"""The configuration file's kinds of values, and how its keys are found in a document.

It must never know a setting: the keys stand in ``settings.Settings``.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from tuned.config import hours
from tuned.config.gpus import Wanted
from tuned.config.hours import Hours
from tuned.config.storage_url import normalised, redacted
from tuned.config.toml import Problems, dotted, instead_of, refuse
from tuned.config.toml import describe as described
from tuned.domain.names import NAME, NAME_EXPECTED

_MOST_GPUS = 1000

_GPUS_EXPECTED = '"auto", a number of GPUs or an array of their ids such as ["0", "1"]'

#: CUDA's own: a number, or a UUID such as GPU-8932f937 or MIG-GPU-8932f937/1/0.
_GPU_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/_.-]{0,99}")

#: Cards on which others compute are not given out, or nobody asks.
CardsInUse = Literal["leave", "use"]

#: Of the hours: what becomes of trials that still run.
WhenOver = Literal["finish", "abort"]

LogFormat = Literal["auto", "journal", "console", "json"]

#: An address in brackets, or a name or address without a colon; then the port.
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9][A-Za-z0-9.-]*)):([0-9]{1,5})")

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")

_ADDRESS_EXPECTED = 'an address and a port, such as "127.0.0.1:9464" or "[::1]:9464"'

_PERMISSIONS = 'permissions that let the owner in, such as "0660"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The key of the file that gives a setting, for errors and the reference."""

    #: Dotted: ``heartbeat.interval``.
    name: str
    description: str
    #: The default in words, if it depends on the machine.
    default: str = ""
    #: Whether a reload takes it over, without a restart.
    is_reloaded: bool = False


def found_files(config: Path, *, is_required: bool) -> tuple[Path, ...]:
    """The configuration file and its drop-ins, in the order in which they are read."""
    drop_ins = sorted(config.with_name(config.name + ".d").glob("*.toml"))
    return (*([config] if is_required or _exists(config) else []), *drop_ins)


def _exists(file: Path) -> bool:
    """Whether there is a file, be it one that cannot be read: that is to be told, not passed over."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def quoted(text: str) -> str:
    """A string as TOML writes it."""
    # DEL is the one character that JSON lets through and TOML does not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def given_keys(
    document: Mapping[str, Any], known: Collection[str], problems: Problems
) -> Iterator[tuple[str, Any]]:
    """The dotted keys of a document, and their values. Adds the problems of keys that are not known."""
    for key, value in document.items():
        inner = [name.partition(".")[2] for name in known if name.startswith(f"{key}.")]
        if key in known and "." not in key:
            yield key, value
        elif not inner:
            tables = dict.fromkeys(name.partition(".")[0] for name in known)
            problems.add(dotted(key), "an unknown key", instead_of(key, tables))
        elif not isinstance(value, dict):
            problems.add(key, described(value), "a table")
        else:
            for name in [name for name in value if name not in inner]:
                problems.add(dotted(key, name), "an unknown key", instead_of(name, inner))
            yield from ((f"{key}.{name}", value[name]) for name in inner if name in value)


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
        refuse(_PERMISSIONS)
    return value if value & 0o600 == 0o600 else refuse(_PERMISSIONS)


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


def split_address(address: str) -> tuple[str, int]:
    """The address without brackets, and the port. Raises ValueError."""
    parts = _ADDRESS.fullmatch(address)
    if parts is None or not 0 < int(parts[3]) < 2**16:
        raise ValueError(_ADDRESS_EXPECTED)
    if parts[1] is not None:
        ipaddress.IPv6Address(parts[1])
    elif parts[2].replace(".", "").isdecimal():
        ipaddress.IPv4Address(parts[2])
    return parts[1] or parts[2], int(parts[3])


def _address_or_none(value: str) -> str:
    if value:
        try:
            split_address(value)
        except ValueError:
            refuse(_ADDRESS_EXPECTED)
    return value


def _labels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        refuse("an array of labels")
    for each in value:
        if not isinstance(each, str) or not NAME.fullmatch(each):
            refuse(f"labels of {NAME_EXPECTED}", described(each))
    return tuple(dict.fromkeys(value))


def _hours(value: object) -> Hours:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        refuse(hours.EXPECTED, "" if not isinstance(value, list) else "an array of something else")
    try:
        return Hours.parse(texts)
    except ValueError as error:
        refuse(str(error))


def _user_name(value: object) -> str:
    if not isinstance(value, str) or (value and not _USER.fullmatch(value)):
        refuse('a name of a user, or ""')
    return value


def _directory(value: object) -> Path:
    if not isinstance(value, str | Path):
        refuse("a string")
    path = Path(value)
    return path if path.is_absolute() else refuse('an absolute path, such as "/srv/minima"')


Storage = Annotated[str, AfterValidator(_storage)]

Directory = Annotated[Path, BeforeValidator(_directory), WithJsonSchema({"title": "an absolute path"})]

#: Of a user, or empty.
UserName = Annotated[str, PlainValidator(_user_name), WithJsonSchema({"type": "string"})]

#: Of a listener; empty for none.
Address = Annotated[str, AfterValidator(_address_or_none), WithJsonSchema({"title": _ADDRESS_EXPECTED})]

#: Of a host, each once.
Labels = Annotated[
    tuple[str, ...],
    PlainValidator(_labels),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]

#: In which a host works.
WorkingHours = Annotated[Hours, PlainValidator(_hours), WithJsonSchema({"title": hours.EXPECTED})]

Mode = Annotated[int, BeforeValidator(_mode), WithJsonSchema({"title": "permissions"})]

#: As it is wanted; the ids of cards once it is known which there are.
Gpus = Annotated[tuple[str, ...], PlainValidator(_gpus), WithJsonSchema({"title": _GPUS_EXPECTED})]
