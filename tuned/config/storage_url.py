"""The database's URL: which ones are taken, and how one is shown without its password.

Pure text, so that the configuration can be checked without loading SQLAlchemy.
"""

from __future__ import annotations

import re
from typing import Final

EXPECTED: Final = '"postgresql://host/database" or "sqlite:////absolute/path.db"'

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "postgresql+psycopg2": "postgresql+psycopg2",
}

# As SQLAlchemy reads it: a password ends at an @, and may have a slash in it. To be safe, at the last @.
_USER_INFO = re.compile(r"(?<=://)([^:/@?]*):(.*)@", re.DOTALL)

# Without an @ in it, a password stands in the place of the port.
_ODD_PORT = re.compile(r"(?<=://)([^:/@?]*):(?![0-9]*(?:[/?]|$))[^@]*")

_MOST_PORT = 65535

_QUERY = re.compile(r"(?<=[?&])((?:ssl)?password)=([^&]*)", re.IGNORECASE)


def normalised(url: str) -> str:
    """The URL with the driver that is installed. Raises ValueError that says what is expected."""
    scheme, separator, rest = url.partition("://")
    driver = _DRIVERS.get(scheme)
    if driver is None or not separator:
        raise ValueError(EXPECTED)
    if driver == "sqlite" and not (rest.startswith("//") and rest.strip("/").partition("?")[0]):
        raise ValueError(f"{EXPECTED}: an embedded database has an absolute path, after four slashes")
    if driver != "sqlite":
        _check_location(rest.partition("?")[0])
    return f"{driver}://{rest}"


def _check_location(location: str) -> None:
    """Before the query: ``user:password@host:port/database``."""
    if location.count("@") > 1:
        raise ValueError("one @, before the host; in a user, a password or a name it is written %40")
    host = location.rpartition("@")[2].partition("/")[0]
    _, colon, port = host.rpartition("]")[2].partition(":")
    if colon and not (port.isdecimal() and 0 < int(port) <= _MOST_PORT):
        raise ValueError(f"a port from 1 to {_MOST_PORT} after the host, or user:password@ before it")


def has_password(url: str) -> bool:
    user_info, query = _USER_INFO.search(url), _QUERY.search(url)
    return bool((user_info and user_info[2]) or (query and query[2]))


def redacted(url: str) -> str:
    """The URL as it may be shown and logged."""
    without = url if "@" in url.partition("?")[0] else _ODD_PORT.sub(r"\1:***", url)
    return _QUERY.sub(r"\1=***", _USER_INFO.sub(r"\1:***@", without))
