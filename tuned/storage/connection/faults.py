"""Which errors of a driver are the database's, and which belong to the call.

The database's errors pass without a change of the call: the server is gone, full, read-only or locked, or
does not let us in. The link waits for their end. All other errors are raised through, because the same call
would fail again. This room only judges; it must never run a statement.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy.exc import DBAPIError

from tuned.config.toml import shorten
from tuned.errors import DatabaseAway, TunedError, printable

#: Of an error in words: it may quote a database or a library, which say more than a person wants.
_LONGEST_REASON = 300

SERVER: Final = "see that the database runs and that this host reaches it; the daemon goes on by itself"

_DISK: Final = (
    "make room on the disk that the database is on; the daemon goes on by itself, and loses no result"
)

_READ_ONLY: Final = (
    "find out why the database takes no writes (a standby, a setting, a file's permissions) and undo it, or "
    "let the URL lead to the primary; the daemon goes on by itself"
)

_RIGHTS: Final = (
    "see that the URL's role may log in with its password, and owns the tables; after a change of the "
    "password restart the daemon"
)

_LOCKED: Final = "find the program that holds a lock in the database for so long, and end it"

_DAMAGED: Final = (
    "look into the database's own log; if data are damaged, restore a backup and restart the daemon"
)

_MALFORMED: Final = (
    "its disk is bad, or a file was copied over it while it was in use: stop the daemon, put a backup in its "
    "place, remove the files beside it whose names end with -wal and -shm, and start the daemon"
)

#: The SQLSTATE of a write that a standby, or a server that was set to read-only, refuses.
READ_ONLY_STATE: Final = "25006"

#: By class of SQLSTATE, or by a whole SQLSTATE, which goes ahead of its class: what a person can do if the
#: error is the database's, and None if it belongs to the call. The classes are those of PostgreSQL's
#: appendix "Error Codes".
SQLSTATES: Final = {
    "00": None,  # successful completion
    "01": None,  # warning
    "02": None,  # no data
    "03": None,  # SQL statement not yet complete
    "08": SERVER,  # connection exception
    "09": None,  # triggered action exception
    "0A": None,  # feature not supported
    "0B": None,  # invalid transaction initiation
    "0F": None,  # locator exception
    "0L": None,  # invalid grantor
    "0P": _RIGHTS,  # invalid role specification
    "0Z": None,  # diagnostics exception
    "10": None,  # XQuery error
    "20": None,  # case not found
    "21": None,  # cardinality violation
    "22": None,  # data exception
    "23": None,  # integrity constraint violation
    "24": None,  # invalid cursor state
    "25": SERVER,  # invalid transaction state: ended by a timeout of the server, or confused by a pooler
    READ_ONLY_STATE: _READ_ONLY,
    "26": None,  # invalid SQL statement name
    "27": None,  # triggered data change violation
    "28": _RIGHTS,  # invalid authorization
    "2B": None,  # dependent privilege descriptors still exist
    "2D": None,  # invalid transaction termination
    "2F": None,  # SQL routine exception
    "34": None,  # invalid cursor name
    "38": None,  # external routine exception
    "39": None,  # external routine invocation exception
    "3B": None,  # savepoint exception
    "3D": SERVER,  # the database does not exist
    "3F": SERVER,  # the schema does not exist
    "40": SERVER,  # rolled back: deadlock, serialization
    "42": None,  # syntax error, undefined table or column
    "42501": _RIGHTS,
    "44": None,  # WITH CHECK OPTION violation
    "53": SERVER,  # insufficient resources
    "53100": _DISK,
    "54": None,  # program limit exceeded
    "55": SERVER,  # object not in prerequisite state
    "55P03": _LOCKED,
    "57": SERVER,  # operator intervention
    "58": _DAMAGED,  # system error: of the server's disk, most often
    "72": SERVER,  # snapshot too old
    "F0": SERVER,  # configuration file error
    "HV": SERVER,  # foreign data wrapper
    "P0": None,  # raised by a PL/pgSQL function
    "XX": _DAMAGED,  # internal error, data corrupted
}

#: The same by SQLite's primary result code. A code that is not here belongs to the call.
_SQLITE: Final = {
    3: _READ_ONLY,  # PERM
    5: _LOCKED,  # BUSY
    6: _LOCKED,  # LOCKED
    7: SERVER,  # NOMEM
    8: _READ_ONLY,  # READONLY
    9: SERVER,  # INTERRUPT
    10: _DAMAGED,  # IOERR
    11: _MALFORMED,  # CORRUPT
    13: _DISK,  # FULL
    14: _READ_ONLY,  # CANTOPEN
    15: _LOCKED,  # PROTOCOL
    23: _RIGHTS,  # AUTH
    26: _MALFORMED,  # NOTADB
}

#: Without a code the driver itself complains. These classes complain about the call.
_OF_THE_CALL: Final = {"DataError", "IntegrityError", "NotSupportedError", "ProgrammingError"}

_PRIMARY = 0xFF

#: libpq's words for a host that answers, and is not the primary that target_session_attrs asks for.
_STANDBY = re.compile("session is read-only|server is in hot standby mode")


def away(error: DBAPIError) -> DatabaseAway | None:
    """The error as the database's, with advice; None if it belongs to the call."""
    remedy = _remedy(error)
    if remedy is None:
        return None
    found = _found(error) or type(error.orig).__name__
    return DatabaseAway(f"{_PREFIXES.get(remedy, 'the database does not answer')}: {found}", remedy=remedy)


def _found(error: DBAPIError) -> str:
    """The first line; of connecting, a line of each host that libpq tried, without its indented advice."""
    lines = str(error.orig).strip().splitlines()
    if getattr(error.orig, "pgcode", None) is None:
        return "; ".join(line for line in lines if line == line.lstrip())
    return lines[0] if lines else ""


_PREFIXES = {
    _DISK: "the database's disk is full",
    _READ_ONLY: "the database takes no writes",
    _RIGHTS: "the database does not let us in",
    _LOCKED: "the database is locked",
    _DAMAGED: "the database has a fault",
    _MALFORMED: "the database's file is damaged",
}


def _remedy(error: DBAPIError) -> str | None:
    state = getattr(error.orig, "pgcode", None)
    if isinstance(state, str):
        lost = SERVER if error.connection_invalidated else None
        return SQLSTATES.get(state, SQLSTATES.get(state[:2])) or lost
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE.get(code & _PRIMARY)
    if error.connection_invalidated:
        return SERVER
    if type(error.orig).__name__ in _OF_THE_CALL:
        return None
    # A server that refuses a login gives its reason without a SQLSTATE.
    text = str(error.orig)
    if "password" in text or "authentication" in text:
        return _RIGHTS
    return _READ_ONLY if _STANDBY.search(text) else SERVER


def reason_of(error: Exception) -> str:
    """The first line of an error; the type of one that is not ours comes before it."""
    # SQLAlchemy adds the statement to the error of the driver, and has that in ``orig``.
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    line = lines[0] if lines else ""
    if not isinstance(error, TunedError):
        line = f"{type(cause).__name__}: {line}"
    return shorten(printable(line), _LONGEST_REASON)
