"""Changes that a person makes to an existing study: frees its failed points, or replaces its definition.

Each change is one transaction under the study's lock, so that no claim or tell comes in between.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, exists, insert, select, update

from tuned.domain.states import PointState, StudyState
from tuned.errors import Conflict, NotFound
from tuned.experiment.differences import Difference, are_replaceable, differences, explained, replaced
from tuned.experiment.experiment import Experiment
from tuned.experiment.likeness import local_differences, name_in, snapshot_in
from tuned.storage import snapshots
from tuned.storage.database import Database
from tuned.storage.shared_files import Reach, SharedFile, share_anew
from tuned.storage.tables.functions import affected, epoch, is_below
from tuned.storage.tables.schema import studies, t_point, t_revision, t_study, t_trial
from tuned.storage.tables.transitions import move_point, move_study
from tuned.storage.trials import breaker, ends
from tuned.storage.trials.budget import WITHIN_BUDGET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.domain.ending import Cause

#: How many replacements of a study are remembered.
MOST_REVISIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """The revision of a definition after a person replaced it, and the changes in words."""

    revision: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """The person who asked for a change, and the host that was asked."""

    user: str
    host: str


def free_failed(database: Database, study_id: int, cause: Cause | None) -> int:
    """Frees the failed points of a study, or only those with this cause, and returns how many.

    Hosts evaluate them before they draw new points. Opens a done study again if a trial may start in it.
    Raises NotFound if the study is gone, Conflict if it is cancelled.
    """
    with database.locking(studies, study_id) as connection:
        if _locked_state(connection, study_id) is StudyState.CANCELLED:
            raise Conflict("cannot retry in a cancelled experiment: submit its file again first")
        freed = free_points(connection, study_id, cause)
        _open_again(connection, study_id)
        return freed


def free_points(connection: Connection, study_id: int, cause: Cause | None = None) -> int:
    """Frees failed points and returns how many. Callers hold the study's lock."""
    # Nobody has to evaluate a deliberate repetition again, so it stays as it is.
    failed = (t_point.c.study_id == study_id) & (t_point.c.replica == 0)
    if cause is not None:
        failed &= exists().where(t_trial.c.trial_id == t_point.c.trial_id, t_trial.c.cause == cause)
    free = move_point(PointState.FREE, since=PointState.FAILED).where(failed).values(losses=0)
    freed = affected(connection.execute(free))
    study = t_study.c
    connection.execute(
        update(t_study).where(study.study_id == study_id).values(visited=study.visited - freed)
    )
    return freed


def replace_definition(
    database: Database,
    study_id: int,
    experiment: Experiment,
    author: Author,
    *,
    local: Sequence[Difference] | None = None,
    file: SharedFile | None = None,
    is_override: bool = False,
) -> Replacement:
    """Gives a study the definition of a file.

    ``local`` are changes of keys of which the author's host has its own; None if it does not work on the
    study. Other hosts go by the file from then on, unless it overrides that of another one. Opens a done
    study again if a trial may start now. Raises NotFound if the study is gone, Conflict with all differences
    if one of them makes another search.
    """
    with database.locking(studies, study_id) as connection:
        _locked_state(connection, study_id)
        mine = t_study.c.study_id == study_id
        theirs = connection.execute(
            select(t_study.c.definition, t_study.c.revision, t_study.c.ends, t_study.c.announces).where(mine)
        ).one()
        before = snapshot_in(theirs.definition)
        experiment = experiment if experiment.snapshot else _with_code_of(experiment, before)
        found = _replaceable(experiment, theirs.definition)
        files = snapshots.difference(connection, experiment.snapshot, before)
        changes = [each.with_files(files, each.as_change) for each in found]
        if file is not None:
            reach = share_anew(connection, database, study_id, experiment, file, is_override=is_override)
            changes += _local_changes(experiment, author, local, reach)
        revision = theirs.revision + 1 if changes else theirs.revision
        _rewrite(connection, study_id, experiment, theirs.definition, revision)
        rules = ends.rules(experiment)
        if (rules["ends"], rules["announces"]) != (theirs.ends, theirs.announces):
            ends.count_anew(connection, study_id)
            ends.judge_anew(connection, study_id)
        if experiment.snapshot != before:
            snapshots.assign(connection, study_id, revision, experiment.snapshot)
        if changes:
            _remember(connection, study_id, revision, author, changes)
        _open_again(connection, study_id)
        return Replacement(revision=revision, changes=tuple(changes))


def _rewrite(
    connection: Connection, study_id: int, experiment: Experiment, before: str, revision: int
) -> None:
    """Writes another definition and its limits."""
    budget = experiment.budget
    connection.execute(
        update(t_study)
        .where(t_study.c.study_id == study_id)
        .values(
            definition=replaced(before, experiment.definition()),
            revision=revision,
            trials_limit=budget.trials,
            evaluations_limit=budget.evaluations,
            seconds_limit=budget.time,
            **ends.rules(experiment),
        )
    )


def _with_code_of(experiment: Experiment, snapshot: str) -> Experiment:
    """The file with the snapshot that is there, because nobody gave another one."""
    if experiment.code is not None and not snapshot:
        raise Conflict(
            f"cannot replace experiment {experiment.name}: [code] is new, and a snapshot of it is needed: "
            "tunectl submit --replace --code FILE"
        )
    return experiment.with_snapshot(snapshot)


def _replaceable(experiment: Experiment, definition: str) -> list[Difference]:
    """The differences between a file and a study's definition, all of which may be replaced."""
    if name_in(definition) != experiment.name:
        # SQLite may have given the study's id to another one since the id was looked up.
        raise NotFound("the study is no longer in the database")
    found = differences(experiment.definition(), definition)
    if not are_replaceable(found):
        raise Conflict(f"cannot replace experiment {experiment.name}: " + explained(found, experiment.name))
    return found


def _local_changes(
    experiment: Experiment, author: Author, local: Sequence[Difference] | None, reach: Reach
) -> list[str]:
    """The changes of local keys in words, each with the hosts on which it is one."""
    where = [author.host] if local is not None else []
    if reach.is_followed:
        where.append("hosts that took the file over")
    if local is None:
        # The author's host has none to compare with: those that follow the file do.
        local = local_differences(experiment, reach.before, f"{experiment.name}.toml") if where else []
    return [*dict.fromkeys(f"{each.as_change} (on {' and '.join(where)})" for each in local)]


def _remember(
    connection: Connection, study_id: int, revision: int, author: Author, changes: Sequence[str]
) -> None:
    connection.execute(
        insert(t_revision).values(
            study_id=study_id,
            revision=revision,
            since=epoch(),
            user_name=author.user,
            host=author.host,
            changes=json.dumps(changes, ensure_ascii=False),
        )
    )
    old = t_revision.c.revision <= revision - MOST_REVISIONS
    connection.execute(delete(t_revision).where(t_revision.c.study_id == study_id, old))


def _locked_state(connection: Connection, study_id: int) -> StudyState:
    """Also locks our row of the study."""
    mine = select(t_study.c.state).where(t_study.c.study_id == study_id)
    return StudyState(connection.execute(mine.with_for_update(key_share=True)).scalar_one())


def _open_again(connection: Connection, study_id: int) -> None:
    """Opens a study that the breaker paused, and a done one that is not over any more."""
    is_paused = (t_study.c.study_id == study_id, t_study.c.pause_reason.is_not(None))
    lifted = move_study(StudyState.OPEN, since=StudyState.PAUSED).where(*is_paused)
    if affected(connection.execute(lifted.values(breaker.AFRESH))):
        free_points(connection, study_id)
    if ends.why_over(connection, study_id) is None:
        may_start = (WITHIN_BUDGET, is_below(t_study.c.visited, t_study.c.size))
        opened = move_study(StudyState.OPEN, since=StudyState.DONE)
        connection.execute(opened.where(t_study.c.study_id == study_id, *may_start))
