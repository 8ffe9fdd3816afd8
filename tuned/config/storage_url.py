"""The database's URL: which ones are taken, and how one is shown without its password.

Pure text, so that the configuration can be checked without loading SQLAlchemy. Several hosts move into the
query, because that is the one form of them that both libpq and SQLAlchemy read alike.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn
from urllib.parse import quote, unquote

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

_PORT, _MOST_PORT = "5432", 65535

#: Added to several hosts if the URL says nothing else, because a standby takes no claim.
_PRIMARY: Final = "target_session_attrs=read-write"

_BALANCE: Final = "load_balance_hosts"
_UNBALANCED: Final = f"{_BALANCE}=disable"

_QUERY = re.compile(r"(?<=[?&])((?:ssl)?password)=([^&]*)", re.IGNORECASE)


def normalised(url: str) -> str:
    """The URL with the driver that is installed. Raises ValueError that says what is expected."""
    scheme, separator, rest = url.partition("://")
    driver = _DRIVERS.get(scheme)
    if driver is None or not separator:
        raise ValueError(EXPECTED)
    if driver == "sqlite" and not (rest.startswith("//") and rest.strip("/").partition("?")[0]):
        raise ValueError(f"{EXPECTED}: an embedded database has an absolute path, after four slashes")
    return f"{driver}://{rest if driver == 'sqlite' else _located(rest)}"


def _located(rest: str) -> str:
    """After the scheme: ``user:password@host:port,host:port/database?query``."""
    location, _, query = rest.partition("?")
    if location.count("@") > 1:
        raise ValueError("one @, before the host; in a user, a password or a name it is written %40")
    user, at, place = location.rpartition("@")
    named, _, database = place.partition("/")
    options = {option.partition("=")[0]: option for option in query.split("&") if option}
    hosts, ports = _before(named)
    within, theirs = _within(options)
    if (named and len(within) > 1) or (len(hosts) > 1 and (within or theirs)):
        raise ValueError("several hosts in one place: before the database, or as host= and port=")
    if len(within) > 1:
        hosts, ports = within, theirs
    if len(hosts) == 1:
        return rest
    if options.get(_BALANCE, _UNBALANCED) != _UNBALANCED:
        raise ValueError(f"no {_BALANCE}: a host of the fleet uses one server at a time")
    return f"{user}{at}/{database}?{_with_hosts(hosts, ports, options)}"


def _before(named: str) -> tuple[list[str], list[str]]:
    """The hosts that stand before the database, and the port of each."""
    hosts, ports = [], []
    for each in named.split(","):
        bracket, closed, rest = each.rpartition("]")
        host, colon, port = rest.partition(":")
        if colon and not port:
            _refuse_port()
        hosts.append(f"{bracket}{closed}{host}".strip("[]"))
        ports.append(port)
    _check_ports(ports)
    return hosts, ports


def _within(options: dict[str, str]) -> tuple[list[str], list[str]]:
    """The same of a query: the ports are none, one for all hosts, or one for each."""
    found = [unquote(options.get(name, "").partition("=")[2]) for name in ("host", "port")]
    hosts, ports = (text.split(",") if text else [] for text in found)
    if len(hosts) > 1:
        ports = ports * len(hosts) if len(ports) == 1 else ports or [""] * len(hosts)
        if len(ports) != len(hosts):
            raise ValueError("as many in port= as in host=, or one port for all hosts")
        _check_ports(ports)
    return hosts, ports


def _with_hosts(hosts: list[str], ports: list[str], options: dict[str, str]) -> str:
    """A query in which these hosts are tried one after the other."""
    if not all(hosts):
        raise ValueError("a host before and after each comma")
    listed = [
        f"host={','.join(quote(unquote(host), safe='/:') for host in hosts)}",
        f"port={','.join(port or _PORT for port in ports)}",
    ]
    if _PRIMARY.partition("=")[0] not in options:
        listed.append(_PRIMARY)
    return "&".join([*listed, *(text for name, text in options.items() if name not in {"host", "port"})])


def _check_ports(ports: list[str]) -> None:
    for port in ports:
        if port and not (port.isdecimal() and 0 < int(port) <= _MOST_PORT):
            _refuse_port()


def _refuse_port() -> NoReturn:
    raise ValueError(f"a port from 1 to {_MOST_PORT} after the host, or user:password@ before it")


def has_password(url: str) -> bool:
    user_info, query = _USER_INFO.search(url), _QUERY.search(url)
    return bool((user_info and user_info[2]) or (query and query[2]))


def redacted(url: str) -> str:
    """The URL as it may be shown and logged."""
    without = url if "@" in url.partition("?")[0] else _ODD_PORT.sub(r"\1:***", url)
    return _QUERY.sub(r"\1=***", _USER_INFO.sub(r"\1:***@", without))
