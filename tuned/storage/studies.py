"""Studies in the database: opens, pauses, cancels and closes them, and reads their status.

It joins a study that plain Optuna made. COMPLETE trials with exactly our parameters and distributions become
points that are done. All other trials are only history for the sampler.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, delete, exists, func, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tuned.config.spans import format_span
from tuned.domain.counts import counted
from tuned.domain.states import PointState, StudyState
from tuned.domain.study_status import StudyStatus
from tuned.errors import Conflict, NotFound
from tuned.experiment.differences import differences, explained
from tuned.experiment.experiment import Experiment
from tuned.experiment.likeness import snapshot_in
from tuned.storage import snapshots
from tuned.storage.changes import free_points
from tuned.storage.database import Database
from tuned.storage.joining import (
    check_compatible,
    find_or_make,
    join,
    renamed_study,
    require_ours,
    uid_of,
)
from tuned.storage.shared_files import SharedFile, share, share_anew
from tuned.storage.tables.functions import affected
from tuned.storage.tables.schema import (
    UID_KEPT,
    studies,
    study_system_attributes,
    t_file,
    t_notice,
    t_point,
    t_study,
    t_study_code,
    trials,
)
from tuned.storage.tables.transitions import move_study
from tuned.storage.tables.typed import require_typed
from tuned.storage.trials import breaker, ends, sick
from tuned.storage.trials.budget import IS_OUT_OF_TIME, SECONDS_LEFT, WITHIN_BUDGET
from tuned.storage.trials.notices import announce_end
from tuned.storage.trials.trial_rows import restored_attribute, stored_attribute

if TYPE_CHECKING:
    from collections.abc import Collection

    from tuned.storage.encoding import Encoding

#: The command that a person gives to bring a study into a state.
_VERBS = {
    StudyState.OPEN: "resume",
    StudyState.PAUSED: "pause",
    StudyState.CANCELLED: "cancel",
    StudyState.DONE: "end",
}


#: Numbers the looks of this process, which happen in several threads: ``next`` is one step.
_looks = itertools.count(1)


def open_study(
    database: Database,
    experiment: Experiment,
    encoding: Encoding,
    *,
    is_new: bool,
    file: SharedFile | None = None,
    is_adopted: bool = False,
) -> StudyStatus:
    """Opens the experiment's study, and creates or joins it if necessary.

    ``is_new`` is true if a person submitted the file just now. Its definition must then equal the database's,
    and a cancelled or finished study opens again. Raises Conflict with the differences. Otherwise it may be a
    study of the fleet that another program has renamed.

    ``file`` is kept for hosts on which nobody drops it. A host that has its file from there makes no study:
    raises NotFound if there is none.
    """
    with database.transaction() as connection:
        renamed = None if is_new else renamed_study(connection, experiment.name)
        if is_adopted and renamed is None:
            require_ours(connection, experiment.name)
        study_id = find_or_make(connection, database, experiment) if renamed is None else renamed
        ours = connection.execute(select(t_study).where(t_study.c.study_id == study_id)).first()
        if ours is not None and ours.uid != uid_of(connection, study_id):
            # A deleted study left it, because the database enforced no foreign keys.
            for table in (t_file, t_notice, t_study_code, t_study):
                connection.execute(delete(table).where(table.c.study_id == study_id))
            ours = None
        if ours is None:
            check_compatible(connection, study_id, experiment, encoding)
            join(connection, study_id, experiment, encoding)
            _begin_code(connection, study_id, experiment)
        elif is_new:
            if found := differences(experiment.definition(), ours.definition):
                there = snapshot_in(ours.definition)
                files = snapshots.difference(connection, experiment.snapshot, there)
                raise Conflict(
                    f"cannot run study {experiment.name}: it exists with another definition: "
                    + explained(found, experiment.name, files)
                )
            if ours.state in (StudyState.CANCELLED, StudyState.DONE):
                _set_state(connection, study_id, StudyState.OPEN)
                ends.judge_anew(connection, study_id)
                if file is not None:
                    share_anew(connection, database, study_id, experiment, file)
        if file is not None:
            share(connection, database, study_id, experiment, file)
        return _statuses(connection, [study_id], next(_looks))[study_id]


def _begin_code(connection: Connection, study_id: int, experiment: Experiment) -> None:
    if experiment.snapshot:
        snapshots.assign(connection, study_id, 1, experiment.snapshot)
    elif experiment.code is not None:
        raise Conflict(
            f"cannot begin study {experiment.name}: nobody has a snapshot of its code any more; "
            "submit its file again"
        )


def study_statuses(database: Database, study_ids: Collection[int]) -> dict[int, StudyStatus]:
    """The status of each of these studies. A deleted study is missing.

    Raises ValueError if a row cannot be understood.
    """
    # Taken before the database is asked: a look sees all that was written before it got its number.
    look = next(_looks)
    with database.reading() as connection:
        return _statuses(connection, study_ids, look)


def _statuses(connection: Connection, study_ids: Collection[int], look: int) -> dict[int, StudyStatus]:
    chosen = t_study.c.study_id.in_(study_ids)
    rows = connection.execute(
        select(t_study, SECONDS_LEFT.label("seconds_left"), studies.c.study_name)
        .join(study_system_attributes, UID_KEPT)
        .join(studies, studies.c.study_id == t_study.c.study_id)
        .where(chosen)
    ).all()
    counts: dict[tuple[int, str], int] = {
        (row.study_id, row.state): row.points
        for row in connection.execute(
            select(t_point.c.study_id, t_point.c.state, func.count().label("points"))
            .where(
                t_point.c.study_id.in_(study_ids),
                t_point.c.state.in_([PointState.FREE, PointState.HELD]),
            )
            .group_by(t_point.c.study_id, t_point.c.state)
        )
    }
    waiting: dict[int, list[int]] = defaultdict(list)
    for row in connection.execute(
        select(trials.c.study_id, trials.c.trial_id)
        .where(trials.c.study_id.in_(study_ids), trials.c.state == TrialState.WAITING)
        .order_by(trials.c.trial_id)
    ):
        waiting[row.study_id].append(row.trial_id)
    # Only a target makes these matter.
    aims = [row.study_id for row in rows if row.ended_by is None and ends.has_target(row)]
    others = ends.ended_by_others(connection, aims) if aims else {}
    return {row.study_id: _status(row, counts, waiting[row.study_id], others, look) for row in rows}


def _status(
    row: Row[Any],
    counts: dict[tuple[int, str], int],
    waiting: list[int],
    others: dict[int, int],
    look: int,
) -> StudyStatus:
    require_typed(row, t_study)
    return StudyStatus(
        study_id=row.study_id,
        uid=row.uid,
        definition=row.definition,
        revision=row.revision,
        state=StudyState(row.state),
        seed=row.seed,
        size=row.size,
        trials=row.trials,
        trials_limit=row.trials_limit,
        evaluations=row.evaluations,
        evaluations_limit=row.evaluations_limit,
        seconds_left=row.seconds_left,
        visited=row.visited,
        ended_by=row.ended_by,
        aborts=row.aborts,
        has_unjudged=others.get(row.study_id, row.judged) != row.judged,
        free=counts.get((row.study_id, PointState.FREE), 0),
        held=counts.get((row.study_id, PointState.HELD), 0),
        waiting=tuple(waiting),
        pause_reason=row.pause_reason or "",
        name=row.study_name,
        look=look,
    )


def set_state(database: Database, study_id: int, state: StudyState, *, user: str | None = None) -> None:
    """Pauses, resumes or cancels a study on the whole fleet. Does nothing if it has the state already.

    ``user`` is the person who cancels it, if that is known.

    Raises NotFound if the study is gone, Conflict if its state does not allow it.
    """
    with database.locking(studies, study_id) as connection:
        has_changed = _set_state(connection, study_id, state)
        if state is StudyState.CANCELLED and has_changed:
            ends.note_cancelled(connection, study_id, user)
            announce_end(connection, database.wishes, study_id)


def _set_state(connection: Connection, study_id: int, state: StudyState) -> bool:
    """Returns False if it has the state already."""
    row = connection.execute(
        select(t_study.c.state, t_study.c.pause_reason)
        .where(t_study.c.study_id == study_id)
        .with_for_update(key_share=True)
    ).one()
    now = StudyState(row.state)
    if now is state:
        return False
    try:
        move = move_study(state, since=now)
    except ValueError:
        raise Conflict(f"cannot {_VERBS[state]} the experiment: it is {now}") from None
    connection.execute(move.where(t_study.c.study_id == study_id).values(breaker.AFRESH))
    if row.pause_reason and state is StudyState.OPEN:
        # The program is mended, so its points deserve another evaluation.
        free_points(connection, study_id)
    return True


def close_if_over(database: Database, study_id: int) -> bool:
    """Ends a study in which no trial may start any more, if no host holds a point of it.

    Its budget is full, its space is exhausted, or something has ended it. If it aborts, the hosts kill what
    they hold once its values, a trial or its time have ended it.
    """
    held = exists().where(t_point.c.study_id == study_id, t_point.c.state == PointState.HELD)
    try:
        # Under the study's lock no claim is in flight, so none can come between the check and the end.
        with database.locking(studies, study_id) as connection:
            ends.judge_others(connection, study_id)
            is_over = or_(
                not_(WITHIN_BUDGET), t_study.c.visited >= t_study.c.size, t_study.c.ended_by.is_not(None)
            )
            over = select(t_study.c.study_id).where(t_study.c.study_id == study_id, is_over)
            if connection.execute(over).first() is None:
                return False
            # The failures of a sick host use no budget up and exhaust no space.
            sick.give_back(connection, study_id)
            ended = connection.execute(
                move_study(StudyState.DONE).where(
                    t_study.c.study_id == study_id,
                    is_over,
                    or_(~held, t_study.c.aborts & (t_study.c.ended_by.is_not(None) | IS_OUT_OF_TIME)),
                )
            )
            if affected(ended) == 0:
                return False
            _note_end(connection, study_id)
            announce_end(connection, database.wishes, study_id)
            return True
    except NotFound:
        return False


def _note_end(connection: Connection, study_id: int) -> None:
    """Notes why a study has ended, unless that is known."""
    mine = t_study.c.study_id == study_id
    study = connection.execute(select(t_study, IS_OUT_OF_TIME.label("is_out_of_time")).where(mine)).one()
    if study.ended_by is None:
        connection.execute(update(t_study).where(mine).values(ended_by=_end_of(study)))


def _end_of(study: Row[Any]) -> str:
    # Trials that are killed are not charged, so they do not use a budget up.
    if study.aborts and study.is_out_of_time:
        return _over(study.seconds_limit)
    if study.size is not None and study.visited >= study.size:
        return "its only point visited" if study.size == 1 else f"all {counted(study.size, 'point')} visited"
    for limit, count, unit in (
        (study.trials_limit, study.trials, "trial"),
        (study.evaluations_limit, study.evaluations, "evaluation"),
    ):
        if limit is not None and count >= limit:
            return counted(count, unit)
    return _over(study.seconds_limit)


def _over(seconds: float) -> str:
    span = format_span(seconds)
    return f"{span} is over" if re.fullmatch("1[a-z]+", span) else f"{span} are over"


def read_system_attributes(database: Database, study_id: int) -> dict[str, Any]:
    """The system attributes that samplers keep with the study."""
    with database.reading() as connection:
        found = connection.execute(
            select(study_system_attributes.c.key, study_system_attributes.c.value_json).where(
                study_system_attributes.c.study_id == study_id
            )
        )
        return {row.key: restored_attribute(row.value_json) for row in found}


def write_system_attribute(database: Database, study_id: int, key: str, value: Any) -> None:
    kept = study_system_attributes
    with database.transaction() as connection:
        dialect = postgresql if database.is_postgresql else sqlite
        connection.execute(
            dialect.insert(kept)
            .values(study_id=study_id, key=key, value_json=stored_attribute(value))
            .on_conflict_do_update(
                index_elements=[kept.c.study_id, kept.c.key], set_={"value_json": stored_attribute(value)}
            )
        )
