"""The times that a database forgot, and exactly which claims it forgot with them.

The record is made from the database itself, under a lock that lets nobody claim between look and loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.fleet.hosts import connect
from tests.fleet.ledger import now
from tests.postgres import PostgresServer

_OTHERS_ENDED = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """All that was committed between two moments is forgotten."""

    began: float
    ended: float
    claims: frozenset[str]

    def has_taken(self, claim: str, *, before: float) -> bool:
        """Whether others could not know of this claim at that moment."""
        return claim in self.claims and self.ended <= before

    def may_have_taken_charge(self, since: float, until: float) -> bool:
        """Whether it was charged meanwhile that an evaluation begins again."""
        return since <= self.ended and self.began <= until


class Memory:
    """Lets a database forget, and remembers it. One copy is kept at a time."""

    def __init__(self, server: PostgresServer, storage: str) -> None:
        self.lapses: Sequence[Lapse] = ()
        self._server = server
        self._storage = storage
        self._kept: tuple[float, frozenset[str]] | None = None

    @property
    def is_kept(self) -> bool:
        """A copy waits to be fallen back to."""
        return self._kept is not None

    def keep(self) -> None:
        with self._claims() as claims:
            self._kept = now(), claims
            self._server.keep_copy()

    def fall_back(self) -> None:
        assert self._kept is not None
        began, kept = self._kept
        with self._claims() as claims:
            ended = now()
            self._server.fall_back()
        self.lapses = (*self.lapses, Lapse(began=began, ended=ended, claims=claims - kept))
        self._kept = None

    @contextmanager
    def _claims(self) -> Iterator[frozenset[str]]:
        """Those that the database knows; it takes no other one meanwhile."""
        connection = connect(self._storage)
        try:
            with connection.cursor() as cursor:
                # The server may be read-only, which forbids the lock by default.
                cursor.execute("SET TRANSACTION READ WRITE")
                # A host that is frozen or cut off would keep its locks.
                cursor.execute(_OTHERS_ENDED)
                cursor.execute("LOCK TABLE t_trial IN SHARE MODE")
                cursor.execute("SELECT claim_id FROM t_trial WHERE claim_id IS NOT NULL")
                yield frozenset(claim for (claim,) in cursor.fetchall())
        finally:
            connection.close()
