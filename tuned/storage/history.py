"""The trials of one study as samplers see them, read once and kept.

The database says which trials there are, and in which state. A sync asks for that alone: it never reads a
finished trial again, and an unfinished one when it appears, when it begins to run and when it has ended. The
details of a trial that this host claimed and told are not read at all, because this host notes them here. So
the cost of a sync depends on the number of new trials of others, not of all.

A trial that has ended here counts as ended before the database knows it, until the database says otherwise.
If the database has forgotten the newest trial, all are read anew. A value that was told stays: it was found.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, bindparam, or_, select

from tuned.storage import frozen_trials
from tuned.storage.connection.faults import reason_of
from tuned.storage.frozen_trials import Details, KnownTrial
from tuned.storage.tables.schema import (
    t_trial,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from tuned.storage.tables.statements import batches
from tuned.storage.trials.trial_rows import stored_moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.ending import Ending
    from tuned.domain.result import Beginning
    from tuned.storage.database import Database

_log: FilteringBoundLogger = structlog.get_logger()

#: How many notes wait for a sync. Older ones are dropped, and the database is read instead.
MOST_NOTES = 1000

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """This host claimed a trial, and wrote all of it."""

    beginning: Beginning
    host: str


#: Trials of the bound study with the ids of their claims, in the order of their ids.
_ALL = (
    select(trials, t_trial.c.claim_id)
    .join(t_trial, t_trial.c.trial_id == trials.c.trial_id, isouter=True)
    .where(trials.c.study_id == bindparam("study"))
    .order_by(trials.c.trial_id)
)

#: The newest one that is known, and those after it.
_NEW = _ALL.where(trials.c.trial_id >= bindparam("newest"))

#: Of those whose ids are bound: the trials that have ended, and the enqueued ones that run now.
_CHANGED = _ALL.where(
    trials.c.trial_id.in_(bindparam("unfinished", expanding=True)),
    or_(
        trials.c.state.not_in(_UNFINISHED),
        and_(
            trials.c.state == TrialState.RUNNING, trials.c.trial_id.in_(bindparam("waiting", expanding=True))
        ),
    ),
)


class History:
    """The trials of one study as Optuna's FrozenTrials, in the order of their numbers.

    Any thread may note. One may sync at a time, and the others wait for it.
    """

    def __init__(self, database: Database, study_id: int, *, objectives: int) -> None:
        self._database = database
        self._study_id = study_id
        self._objectives = objectives
        self._lock = threading.Lock()
        #: Since the last sync, by claim.
        self._notes: deque[tuple[str, _Begun | Ending]] = deque(maxlen=MOST_NOTES)
        #: Of trials that the database does not call finished, by claim.
        self._begun: dict[str, _Begun] = {}
        self._ended: dict[str, Ending] = {}
        #: As the database says, by number.
        self._trials: dict[int, KnownTrial] = {}
        #: The latest rows of unfinished trials, by id.
        self._unfinished: dict[int, Row[Any]] = {}
        #: The row of the newest trial.
        self._newest: Row[Any] | None = None
        self._shown: tuple[FrozenTrial, ...] = ()

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """As of the last sync, without COMPLETE ones that lack a value: a person may have deleted it."""
        return self._shown

    @property
    def last_number(self) -> int:
        """The highest number of a trial; -1 without trials."""
        return -1 if self._newest is None else int(self._newest.number)

    @property
    def has_notes(self) -> bool:
        """Whether something was noted since the last sync."""
        return bool(self._notes)

    def note_begun(self, beginning: Beginning, host: str) -> None:
        """Takes note of a trial that this host claimed. Not for an enqueued one: another program wrote it."""
        self._notes.append((beginning.claim_id, _Begun(beginning=beginning, host=host)))

    def note_ended(self, claim_id: str, ending: Ending) -> None:
        """Takes note of how a trial ended here; the database is told of it later, or was a moment ago."""
        self._notes.append((claim_id, ending))

    def sync(self) -> None:
        """Reads new and changed trials. Raises DatabaseAway."""
        with self._lock:
            with self._database.reading() as connection:
                # A trial may be claimed and end while this reads: its notes are for the next sync.
                self._take_notes()
                for batch in batches([*self._new(connection), *self._changed(connection)]):
                    self._read(connection, batch)
            self._drop_notes()
            self._shown = tuple((self._trials | self._ended_here()).values())

    def _take_notes(self) -> None:
        while self._notes:
            claim_id, note = self._notes.popleft()
            if isinstance(note, _Begun):
                self._begun[claim_id] = note
            else:
                self._ended[claim_id] = note

    def _drop_notes(self) -> None:
        """Drops what was noted of trials that have ended in the database."""
        open_claims = {row.claim_id for row in self._unfinished.values()}
        for notes in (self._begun, self._ended):
            for claim_id in notes.keys() - open_claims:
                del notes[claim_id]

    def _new(self, connection: Connection) -> Sequence[Row[Any]]:
        newest = self._newest
        if newest is not None:
            # Trials get their ids under the study's lock, so no new id is below one already seen.
            found = self._rows(connection, _NEW, newest=newest.trial_id)
            if found and _is_same(newest, found[0]):
                return found[1:]
            for known in (self._trials, self._unfinished, self._begun, self._ended):
                known.clear()
            self._newest = None
        return self._rows(connection, _ALL)

    def _changed(self, connection: Connection) -> list[Row[Any]]:
        """The trials that have ended, and those that were enqueued and run now."""
        changed: list[Row[Any]] = []
        for ids in batches(sorted(self._unfinished)):
            waiting = [each for each in ids if self._unfinished[each].state is TrialState.WAITING]
            changed += self._rows(connection, _CHANGED, unfinished=ids, waiting=waiting)
        return changed

    def _rows(self, connection: Connection, which: Select[Any], **values: Any) -> Sequence[Row[Any]]:
        return connection.execute(which, {"study": self._study_id, **values}).all()

    def _read(self, connection: Connection, batch: Sequence[Row[Any]]) -> None:
        here = {row.trial_id: trial for row in batch if (trial := self._of_here(row)) is not None}
        details = _details(connection, [row.trial_id for row in batch if row.trial_id not in here])
        for row in batch:
            if self._newest is None or row.trial_id > self._newest.trial_id:
                self._newest = row
            try:
                trial = here.get(row.trial_id) or frozen_trials.restored(row, details[row.trial_id])
            except Exception as error:  # noqa: BLE001 (Optuna raises anything for a row that a person changed)
                # A search is worth more than one trial of its history.
                _log.warning("trial left out of the history", trial=row.number, reason=reason_of(error))
                self._trials.pop(row.number, None)
                self._unfinished.pop(row.trial_id, None)
            else:
                self._keep(row, trial)

    def _of_here(self, row: Row[Any]) -> KnownTrial | None:
        """The trial of a row, if this host knows all of it already."""
        begun, end = self._begun.get(row.claim_id), self._ended.get(row.claim_id)
        if row.trial_id in self._unfinished and self._unfinished[row.trial_id].state is TrialState.RUNNING:
            running = self._trials[row.number]
        elif begun is not None:
            running = frozen_trials.begun(row, begun.beginning, begun.host)
        else:
            return None
        if row.state is TrialState.RUNNING:
            return running
        if end is not None and row.state is TrialState[end.state]:
            return frozen_trials.ended(running, end, row.datetime_complete, self._objectives)
        return None

    def _keep(self, row: Row[Any], trial: KnownTrial) -> None:
        if self._is_whole(trial):
            self._trials[row.number] = trial
        else:
            self._trials.pop(row.number, None)
        if row.state in _UNFINISHED:
            self._unfinished[row.trial_id] = row
        else:
            self._unfinished.pop(row.trial_id, None)

    def _ended_here(self) -> dict[int, KnownTrial]:
        """The trials that have ended here and that the database calls RUNNING, by number."""
        found = {}
        for row in self._unfinished.values():
            end = self._ended.get(row.claim_id)
            if end is not None and row.state is TrialState.RUNNING:
                running, moment = self._trials[row.number], stored_moment(end.ended)
                found[row.number] = frozen_trials.ended(running, end, moment, self._objectives)
        return {number: trial for number, trial in found.items() if self._is_whole(trial)}

    def _is_whole(self, trial: FrozenTrial) -> bool:
        """Samplers take it that a COMPLETE trial has all its values."""
        return trial.state is not TrialState.COMPLETE or len(trial.values or ()) == self._objectives


def _is_same(known: Row[Any], found: Row[Any]) -> bool:
    """Whether a row is still that of the trial whose id it has: a database that forgot gives ids again."""
    has_started_since = known.datetime_start is None
    return (known.trial_id, known.number) == (found.trial_id, found.number) and (
        has_started_since or known.datetime_start == found.datetime_start
    )


def _details(connection: Connection, ids: Collection[int]) -> dict[int, Details]:
    if not ids:
        return {}
    found = {trial_id: Details() for trial_id in ids}

    def rows(table: Table, *order: ColumnElement[Any]) -> Iterable[Row[Any]]:
        return connection.execute(select(table).where(table.c.trial_id.in_(ids)).order_by(*order))

    for row in rows(trial_values):
        found[row.trial_id].values.append(row)
    for row in rows(trial_intermediate_values):
        found[row.trial_id].intermediate.append(row)
    for row in rows(trial_params, trial_params.c.param_id):
        found[row.trial_id].params.append(row)
    for row in rows(trial_user_attributes):
        found[row.trial_id].user.append(row)
    for row in rows(trial_system_attributes):
        found[row.trial_id].system.append(row)
    return found
