"""Ends of a search by its values: the columns of a study that decide it, and the statements that ask.

A tell judges its own result under the lock on our row of the study, so no claim comes after the commit that
ended the search. Trials of other programs are judged when a host looks at the study. Callers open the
transaction and hold that lock.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from tuned.config.toml import shorten
from tuned.domain.claim import TrialKind
from tuned.domain.ending import Cause, Ending, EndState
from tuned.domain.ends import Ends, Progress, Values, reached, stalled
from tuned.domain.states import StudyState
from tuned.storage.tables.functions import all_trials, trials_in
from tuned.storage.tables.schema import ENDED, PROGRESS, t_study, t_trial, trial_values, trials
from tuned.storage.tables.statements import batches
from tuned.storage.trials.constraints import infeasible
from tuned.storage.trials.trial_rows import INFINITY, restored_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tuned.domain.result import Result
    from tuned.experiment.experiment import Experiment

#: In characters, for people.
_LONGEST = 400

#: The columns of the study that the end of an evaluation changes, with the values of ``judged``.
COLUMNS: dict[str, Any] = {
    "front": bindparam("front", type_=t_study.c.front.type),
    "better": bindparam("better", type_=Integer),
    "stalled": bindparam("stalled", type_=Integer),
    # The first reason to end the search stands.
    "ended_by": func.coalesce(t_study.c.ended_by, bindparam("ends_by", type_=t_study.c.ended_by.type)),
}


def rules(experiment: Experiment) -> dict[str, Any]:
    """The columns of a study that say what its values do: end it, kill what runs, or are told to people."""
    budget = experiment.budget
    ends = Ends(
        rises=tuple(direction == "maximize" for direction in experiment.directions),
        target=budget.target,
        stalled=budget.stalled,
        min_delta=_for_each(budget.min_delta or (0.0,), len(experiment.directions)),
    )
    notify = experiment.notify
    return {
        "ends": json.dumps(asdict(ends)),
        "aborts": budget.when_over == "abort",
        "announces": None if notify is None else ",".join(notify.on),
    }


def locked(connection: Connection, study_id: int) -> Row[Any]:
    """Locks our row of the study. Returns the columns that ``judged`` needs."""
    return connection.execute(_kept(study_id).with_for_update(key_share=True)).one()


def judged(study: Row[Any], result: Result, number: int, *, tells_better: bool) -> dict[str, Any]:
    """The values of ``COLUMNS`` after this result, which ends the trial of this number.

    A better value is in ``better`` if stalling has a limit, or better values are told.
    """
    ending, ends = result.ending, restored(study.ends)
    stop = f"stopped by trial {number} on {result.host}" if ending.stops_search else None
    if ends is None:
        return {**_stored(Progress()), "ends_by": stop}
    # A value that violates a constraint is not better than any, and reaches no target.
    values = ending.values if ending.state is EndState.COMPLETE and ending.is_feasible else None
    progress = _progress(study)
    if (ends.stalled is not None or tells_better) and not _is_free_of_charge(ending, study.complete):
        progress = progress.after(ends, number, values)
    if values is not None and ends.are_reached_by(values):
        assert ends.target is not None
        stop = reached(ends.target, number, result.host)
    return {**_stored(progress), "ends_by": _fitting(stop or stalled(ends, progress))}


def judge(
    connection: Connection, study: Row[Any], result: Result, number: int, *, tells_better: bool
) -> dict[str, Any]:
    """Judges a result whose trial has ended already. ``study`` is as ``locked`` returned it.

    Returns the values of ``COLUMNS``.
    """
    judging = update(t_study).where(t_study.c.study_id == result.study_id).values(COLUMNS)
    columns = judged(study, result, number, tells_better=tells_better)
    connection.execute(judging, columns)
    return columns


def judge_anew(connection: Connection, study_id: int) -> None:
    """Notes whether a study is over by its rules, after it was opened or its rules were replaced."""
    study, why = t_study.c, why_over(connection, study_id)
    has_ended = study.state.not_in([StudyState.OPEN, StudyState.PAUSED])
    # A study that has ended otherwise keeps why, and one that goes on may no longer be over.
    now = case((has_ended, func.coalesce(why, study.ended_by)), else_=why)
    connection.execute(
        update(t_study)
        .where(study.study_id == study_id, study.state != StudyState.CANCELLED)
        .values(ended_by=now)
    )


def why_over(connection: Connection, study_id: int) -> str | None:
    """Why a study is over by its rules and trials as they are now; None if it is not."""
    study = connection.execute(_kept(study_id)).one()
    ends = restored(study.ends)
    if ends is None:
        return None
    return _fitting(_reached_by(connection, study_id, ends) or stalled(ends, _progress(study)))


def count_anew(connection: Connection, study_id: int) -> None:
    """Counts what a study's rules need from its trials, because the rules are new."""
    mine = t_study.c.study_id == study_id
    study = connection.execute(select(t_study.c.ends, t_study.c.announces).where(mine)).one()
    ends, progress = restored(study.ends), Progress()
    tells_better = "better" in (study.announces or "").split(",")
    if ends is not None and (ends.stalled is not None or tells_better):
        for number, values in _evaluated(connection, study_id):
            progress = progress.after(ends, number, values)
    connection.execute(update(t_study).where(mine).values(_stored(progress)))


def judge_others(connection: Connection, study_id: int) -> None:
    """Notes whether a trial of another program has reached the target, which no tell has seen."""
    ends = restored(locked(connection, study_id).ends)
    if ends is None or ends.target is None:
        return
    others = ended_by_others(connection, [study_id])[study_id]
    why = _fitting(_reached_by(connection, study_id, ends))
    connection.execute(
        update(t_study)
        .where(t_study.c.study_id == study_id)
        .values(judged=others, ended_by=func.coalesce(t_study.c.ended_by, why))
    )


def note_cancelled(connection: Connection, study_id: int, user: str | None) -> None:
    """Notes who ended a study; without a user nobody knows."""
    words = _fitting(f"cancelled by {user}" if user else "cancelled")
    mine = t_study.c.study_id == study_id
    ended_by = func.coalesce(t_study.c.ended_by, words)
    connection.execute(update(t_study).where(mine).values(ended_by=ended_by))


def has_target(study: Row[Any]) -> bool:
    ends = restored(study.ends)
    return ends is not None and ends.target is not None


def restored(stored: str | None) -> Ends | None:
    """The rules in a study's column ``ends``."""
    if stored is None:
        return None
    found = json.loads(stored)
    target = found["target"]
    return Ends(
        rises=tuple(found["rises"]),
        target=None if target is None else tuple(target),
        stalled=found["stalled"],
        min_delta=tuple(found["min_delta"]),
    )


def ended_by_others(connection: Connection, study_ids: Collection[int]) -> dict[int, int]:
    """How many trials of each study other programs have ended since tuned has it."""
    unfinished = trials_in(TrialState.RUNNING) + trials_in(TrialState.WAITING)
    ours = sum((t_study.c[name] for name in ENDED), unfinished)
    # Those that nobody of us counted are theirs. One statement sees one moment.
    found = connection.execute(
        select(t_study.c.study_id, (all_trials() - ours).label("others")).where(
            t_study.c.study_id.in_(study_ids)
        )
    )
    return {row.study_id: row.others for row in found}


def _kept(study_id: int) -> Select[Any]:
    return select(*(t_study.c[name] for name in PROGRESS)).where(t_study.c.study_id == study_id)


def _reached_by(connection: Connection, study_id: int, ends: Ends) -> str | None:
    """The words for the first trial that reached the target; None if none has."""
    if ends.target is None:
        return None
    of_objective = (
        and_(trial_values.c.objective == objective, _is_as_good(rises, limit))
        for objective, (rises, limit) in enumerate(zip(ends.rises, ends.target, strict=True))
    )
    found = connection.execute(
        select(trials.c.trial_id, trials.c.number, t_trial.c.host)
        .join(trial_values, trial_values.c.trial_id == trials.c.trial_id)
        .join(t_trial, t_trial.c.trial_id == trials.c.trial_id, isouter=True)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.COMPLETE, or_(*of_objective))
        .group_by(trials.c.trial_id, trials.c.number, t_trial.c.host)
        .having(func.count() == len(ends.target))
        .order_by(trials.c.trial_id)
    ).all()
    for batch in batches(found):
        violating = infeasible(connection, [row.trial_id for row in batch])
        for row in batch:
            if row.trial_id not in violating:
                return reached(ends.target, row.number, row.host)
    return None


def _is_as_good(rises: bool, limit: float) -> ColumnElement[bool]:
    value = trial_values.c.value
    return or_(INFINITY == 1, value >= limit) if rises else or_(INFINITY == -1, value <= limit)


def _evaluated(connection: Connection, study_id: int) -> Iterator[tuple[int, Values | None]]:
    """The trials of hosts that ended by themselves, in that order, each with its values if it is feasible."""
    found = connection.execute(
        select(
            trials.c.trial_id,
            trials.c.number,
            trials.c.state,
            trial_values.c.value,
            trial_values.c.value_type,
        )
        .join(t_trial, t_trial.c.trial_id == trials.c.trial_id)
        .join(trial_values, trial_values.c.trial_id == trials.c.trial_id, isouter=True)
        .where(
            trials.c.study_id == study_id,
            trials.c.datetime_complete.is_not(None),
            t_trial.c.kind.in_([TrialKind.EVALUATED, TrialKind.LATE]),
            t_trial.c.is_charged,
            or_(t_trial.c.cause.is_(None), t_trial.c.cause.not_in([Cause.LOST, Cause.ABORTED, Cause.HOST])),
        )
        .order_by(trials.c.datetime_complete, trials.c.trial_id, trial_values.c.objective)
    )
    violating = infeasible(connection, select(trials.c.trial_id).where(trials.c.study_id == study_id))
    for number, rows in itertools.groupby(found, key=lambda row: row.number):
        of_trial: list[Any] = list(rows)
        counts = of_trial[0].state is TrialState.COMPLETE and of_trial[0].trial_id not in violating
        yield number, tuple(restored_value(row) for row in of_trial) if counts else None


def _is_free_of_charge(ending: Ending, complete: int) -> bool:
    """A crash before the first value tells nothing of the search."""
    return ending.failure is not None and ending.failure.is_crash and complete == 0


def _for_each(numbers: Values, objectives: int) -> Values:
    return numbers * objectives if len(numbers) == 1 else numbers


def _progress(study: Row[Any]) -> Progress:
    front = () if study.front is None else tuple(map(tuple, json.loads(study.front)))
    return Progress(front=front, since=study.better, stalled=study.stalled)


def _stored(progress: Progress) -> dict[str, Any]:
    front = json.dumps(progress.front) if progress.front else None
    return {"front": front, "better": progress.since, "stalled": progress.stalled}


def _fitting(words: str | None) -> str | None:
    return None if words is None else shorten(words, _LONGEST)
