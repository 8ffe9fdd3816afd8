"""DELETE: removes a study with all its trials, and leaves a tombstone for the hosts that have its outputs.

A host removes outputs only for a tombstone: a study that is merely not found may come back with a database
that is restored. This module must never delete trials of another program unless a person insists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Table, delete, exists, func, insert, select

from tuned.domain.counts import counted
from tuned.errors import Conflict, NotFound
from tuned.experiment.likeness import name_in
from tuned.storage.tables.functions import epoch
from tuned.storage.tables.schema import (
    studies,
    study_directions,
    study_system_attributes,
    study_user_attributes,
    t_deleted,
    t_file,
    t_notice,
    t_output,
    t_point,
    t_revision,
    t_study,
    t_study_code,
    t_trial,
    trial_heartbeats,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.storage.database import Database

_OF_TRIAL: tuple[Table, ...] = (
    trial_params,
    trial_values,
    trial_intermediate_values,
    trial_user_attributes,
    trial_system_attributes,
    trial_heartbeats,
    t_output,
    t_trial,
)

#: In an order that keeps each row until no other points to it.
_OF_STUDY: tuple[Table, ...] = (
    trials,
    t_point,
    t_revision,
    t_file,
    t_notice,
    t_study_code,
    t_study,
    study_directions,
    study_user_attributes,
    study_system_attributes,
    studies,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A study that was deleted just now."""

    uid: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A study that was deleted at any time."""

    name: str
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstones:
    """All of them, by the studies' uids; ``mark`` changes with them."""

    mark: tuple[int, float]
    by_uid: Mapping[str, Tombstone]


NO_TOMBSTONES = Tombstones(mark=(0, 0.0), by_uid={})


def delete_study(database: Database, study_id: int, name: str, *, is_forced: bool) -> Deleted:
    """Deletes a study, whatever its state is. Hosts kill what they run of it when they notice.

    Raises NotFound if the study is gone, Conflict if other programs have trials in it, unless it is forced.
    """
    with database.locking(studies, study_id) as connection:
        ours = _lock_all(connection, study_id, name)
        count, foreign = connection.execute(
            select(
                func.count(), func.count().filter(~exists().where(t_trial.c.trial_id == trials.c.trial_id))
            )
            .select_from(trials)
            .where(trials.c.study_id == study_id)
        ).one()
        if foreign and not is_forced:
            raise Conflict(
                f"cannot delete {name}: other programs have {foreign} of its {counted(count, 'trial')}; "
                f"to delete those too: tunectl delete --force {name}"
            )
        # The hosts keep its files and outputs by this name, even if another program renamed the study.
        called = name_in(ours.definition) or name
        buried = {"uid": ours.uid, "name": called, "definition": ours.definition}
        connection.execute(insert(t_deleted).values(**buried, since=epoch()))
        theirs = select(trials.c.trial_id).where(trials.c.study_id == study_id)
        for table in _OF_TRIAL:
            connection.execute(delete(table).where(table.c.trial_id.in_(theirs)))
        for table in _OF_STUDY:
            connection.execute(delete(table).where(table.c.study_id == study_id))
        return Deleted(uid=ours.uid, trials=count)


#: How many tombstones there are, and when the newest came.
TOMBSTONE_MARK = select(
    func.count().label("tombstones"), func.max(t_deleted.c.since).label("newest")
).select_from(t_deleted)


def read_tombstones(connection: Connection, mark: tuple[int, float]) -> Tombstones:
    """All tombstones."""
    rows = connection.execute(select(t_deleted.c.uid, t_deleted.c.name, t_deleted.c.definition))
    found = {row.uid: Tombstone(name=row.name, definition=row.definition) for row in rows}
    return Tombstones(mark=mark, by_uid=found)


def _lock_all(connection: Connection, study_id: int, name: str) -> Row[Any]:
    """Keeps every other program out until the commit, and returns our row of the study."""
    # No other transaction can then add a row that points to the study.
    named = select(studies.c.study_name).where(studies.c.study_id == study_id).with_for_update()
    if connection.execute(named).scalar() != name:
        # SQLite may have given the study's id to another one since the id was looked up.
        raise NotFound("the study is no longer in the database")
    mine = select(t_study).where(t_study.c.study_id == study_id).with_for_update()
    ours = connection.execute(mine).one()
    of_trials = select(trials.c.trial_id).where(trials.c.study_id == study_id).order_by(trials.c.trial_id)
    connection.execute(of_trials.with_for_update()).all()
    return ours
