"""Runs the daemon with faults in it, at exact places of its transactions. For tests; no user gets it.

The variable FAULTS names them, separated by spaces: ``crash:claim:statement:2`` ends the process, as a power
cut would, before the second statement that any claim sends; ``cut`` instead of ``crash`` cuts the connection.
The places: ``statement``, ``commit`` (before it is sent), ``committed`` (after it was carried out, before its
answer was heard); and of ``outbox``, ``put`` (before a result is on disk) and ``kept`` (after).
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import Engine

from tuned.daemon.main import main
from tuned.disk.outbox import Outbox

#: Which functions are which operation.
OPERATIONS = {
    ("claims", "claim"): "claim",
    ("claims", "claim_unvisited"): "claim",
    ("tells", "tell"): "tell",
    ("settling", "settle_orphans"): "settle",
    ("hosts", "beat"): "beat",
}

CRASHED = 70

_faults: dict[tuple[str, str, int], str] = {}
_counts: Counter[tuple[str, str]] = Counter()
_counting = threading.Lock()


def reach(operation: str | None, place: str, connection: Any = None) -> None:
    """Does what is due here."""
    if operation is None:
        return
    with _counting:
        _counts[operation, place] += 1
        what = _faults.get((operation, place, _counts[operation, place]))
    if what == "crash":
        crash()
    if what == "cut":
        sys.stderr.write(f"cut at {operation} {place}\n")
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        if place == "committed":
            raise psycopg2.OperationalError("server closed the connection unexpectedly")


def crash() -> NoReturn:
    os._exit(CRASHED)


def operation() -> str | None:
    """The operation that the calling thread is in."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        code = frame.f_code
        if found := OPERATIONS.get((Path(code.co_filename).stem, code.co_name)):
            return found
    return None


def before_statement(_connection: Any, cursor: Any, *_: Any) -> None:
    reach(operation(), "statement", cursor.connection)


def commit(_dialect: PGDialect_psycopg2, connection: Any) -> None:
    doing = operation()
    line = connection.dbapi_connection
    reach(doing, "commit", line)
    line.commit()
    reach(doing, "committed", line)


def put(outbox: Outbox, name: str, record: Mapping[str, Any]) -> None:
    reach("outbox", "put")
    _put(outbox, name, record)
    reach("outbox", "kept")


_put = Outbox.put

if __name__ == "__main__":
    for fault in os.environ["FAULTS"].split():
        effect, of, where, number = fault.split(":")
        _faults[of, where, int(number)] = effect
    event.listen(Engine, "before_cursor_execute", before_statement)
    PGDialect_psycopg2.do_commit = commit  # type: ignore[method-assign, assignment]
    Outbox.put = put  # type: ignore[method-assign, assignment]
    main()
