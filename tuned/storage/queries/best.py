"""The best trials of a study: one trial, or the Pareto front if the study has several objectives.

The result is the same as Optuna's. This module only reads, and must never load all values of a study with one
objective, unless it has constraints.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Connection, case, func, select

from tuned.storage.queries.trials import duplicate, is_duplicate
from tuned.storage.tables.schema import study_directions, trial_values, trials
from tuned.storage.trials.constraints import infeasible
from tuned.storage.trials.trial_rows import INFINITY

#: The numbers to minimize, one per objective.
Losses = tuple[float, ...]

Directions = Mapping[int, Sequence[StudyDirection]]


def best_ids(connection: Connection, directions: Directions) -> dict[int, list[int]]:
    """The ids of the best trials of each study: evaluated trials first, then by number.

    Studies without a value are missing. A trial that violates a constraint is never among the best.
    """
    single, several = (
        {study: of for study, of in directions.items() if (len(of) == 1) is is_single}
        for is_single in (True, False)
    )
    found = _single_bests(connection, single) | _fronts(connection, several, is_constrained=False)
    violating = infeasible(connection, [trial for best in found.values() for trial in best])
    # Constraints are rare, so this reads those of all trials only if they matter.
    constrained = [study for study, best in found.items() if not violating.isdisjoint(best)]
    for study in constrained:
        del found[study]
    again = _fronts(connection, {study: directions[study] for study in constrained}, is_constrained=True)
    for study, front in again.items():
        found[study] = front if study in several else front[:1]
    return found


def _single_bests(connection: Connection, study_ids: Collection[int]) -> dict[int, list[int]]:
    """The best trial of each study with one objective: among equals the first evaluated one."""
    if len(study_ids) < 2:
        return {study: found for study in study_ids if (found := _single_best(connection, study))}
    sign = case((study_directions.c.direction == StudyDirection.MAXIMIZE, -1), else_=1)
    place = func.rank().over(
        partition_by=trials.c.study_id, order_by=[INFINITY * sign, trial_values.c.value * sign]
    )
    ranked = (
        select(trials.c.study_id, trials.c.trial_id, place.label("place"))
        .join(trial_values, (trial_values.c.trial_id == trials.c.trial_id) & (trial_values.c.objective == 0))
        .join(study_directions, study_directions.c.study_id == trials.c.study_id)
        .where(trials.c.study_id.in_(study_ids), trials.c.state == TrialState.COMPLETE)
        .subquery()
    )
    comes_later = case((duplicate.c.trial_id.is_(None), 0), else_=1)
    turn = func.row_number().over(partition_by=trials.c.study_id, order_by=[comes_later, trials.c.number])
    equals = (
        select(trials.c.study_id, trials.c.trial_id, turn.label("turn"))
        .join(ranked, (ranked.c.trial_id == trials.c.trial_id) & (ranked.c.place == 1))
        .join(duplicate, is_duplicate, isouter=True)
        .subquery()
    )
    first = connection.execute(select(equals.c.study_id, equals.c.trial_id).where(equals.c.turn == 1))
    return {row.study_id: [row.trial_id] for row in first}


def _single_best(connection: Connection, study_id: int) -> list[int]:
    """The same of one study, for which the database need not sort all values."""
    sign = case((study_directions.c.direction == StudyDirection.MAXIMIZE, -1), else_=1)
    comes_later = case((duplicate.c.trial_id.is_(None), 0), else_=1)
    query = (
        select(trials.c.trial_id)
        .join(trial_values, (trial_values.c.trial_id == trials.c.trial_id) & (trial_values.c.objective == 0))
        .join(study_directions, study_directions.c.study_id == trials.c.study_id)
        .join(duplicate, is_duplicate, isouter=True)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.COMPLETE)
        .order_by(INFINITY * sign, trial_values.c.value * sign, comes_later, trials.c.number)
    )
    return list(connection.execute(query.limit(1)).scalars())


def leading_ids(
    connection: Connection, study_id: int, direction: StudyDirection, limit: int
) -> dict[int, int]:
    """The evaluated trials with the best values: their numbers by id, the best first. For one objective."""
    sign = -1 if direction is StudyDirection.MAXIMIZE else 1
    leading = (
        select(trials.c.trial_id, trials.c.number)
        .join(trial_values, (trial_values.c.trial_id == trials.c.trial_id) & (trial_values.c.objective == 0))
        .join(duplicate, is_duplicate, isouter=True)
        .where(
            trials.c.study_id == study_id,
            trials.c.state == TrialState.COMPLETE,
            duplicate.c.trial_id.is_(None),
        )
        .order_by(INFINITY * sign, trial_values.c.value * sign, trials.c.trial_id)
    )
    found = connection.execute(leading.limit(limit)).all()
    if infeasible(connection, [row.trial_id for row in found]):
        found = connection.execute(leading).all()
        violating = infeasible(connection, leading.with_only_columns(trials.c.trial_id).order_by(None))
        found = [row for row in found if row.trial_id not in violating][:limit]
    return {row.trial_id: row.number for row in found}


def _fronts(connection: Connection, directions: Directions, *, is_constrained: bool) -> dict[int, list[int]]:
    """The Pareto fronts of these studies, computed in memory."""
    if not directions:
        return {}
    complete = trials.c.study_id.in_(directions.keys()) & (trials.c.state == TrialState.COMPLETE)
    losses = _losses(connection, directions, complete)
    if is_constrained:
        # Read after the values, because a trial with values has its constraints too.
        for trial_id in infeasible(connection, select(trials.c.trial_id).where(complete)):
            for of_study in losses.values():
                of_study.pop(trial_id, None)
    fronts = {study: _members(of_study) for study, of_study in losses.items()}
    members = [trial for front in fronts.values() for trial in front]
    duplicates = set(
        connection.execute(
            select(trials.c.trial_id).join(duplicate, is_duplicate).where(trials.c.trial_id.in_(members))
        ).scalars()
    )
    # Numbers are in the order of ids.
    return {
        study: sorted(front, key=lambda trial: (trial in duplicates, trial))
        for study, front in fronts.items()
        if front
    }


def _losses(
    connection: Connection, directions: Directions, complete: ColumnElement[bool]
) -> dict[int, dict[int, Losses]]:
    """The numbers to minimize, by study and trial."""
    found = connection.execute(
        select(trials.c.study_id, trials.c.trial_id, trial_values.c.objective, trial_values.c.value, INFINITY)
        .join(trial_values, trial_values.c.trial_id == trials.c.trial_id)
        .where(complete)
    )
    signs = {
        study: [-1.0 if each is StudyDirection.MAXIMIZE else 1.0 for each in of]
        for study, of in directions.items()
    }
    values: dict[int, dict[int, dict[int, float]]] = {study: defaultdict(dict) for study in directions}
    for study, trial, objective, value, infinity in found:
        restored = math.copysign(math.inf, infinity) if infinity else value
        values[study][trial][objective] = restored * signs[study][objective]
    return {
        study: {trial: tuple(of[n] for n in range(len(of))) for trial, of in of_study.items()}
        for study, of_study in values.items()
    }


def _members(losses: Mapping[int, Losses]) -> list[int]:
    front = set(pareto_front(losses.values()))
    return [trial for trial, of_trial in losses.items() if of_trial in front]


def pareto_front(losses: Iterable[Losses]) -> list[Losses]:
    """The losses that no others dominate, each once, in ascending order."""
    front: list[Losses] = []
    for candidate in sorted(set(losses)):
        # Only losses that come before in this order can dominate. With two objectives the last of them has
        # the least second loss, so it dominates if any does.
        rivals = front if len(candidate) > 2 else front[-1:]
        if not any(all(a <= b for a, b in zip(rival, candidate, strict=True)) for rival in rivals):
            front.append(candidate)
    return front
