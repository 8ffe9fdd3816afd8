"""Takes trials that were evaluated elsewhere into a study: one transaction, or nothing.

They become trials as another program would have added them, without a host, and their points are known to
the fleet. They are charged to no budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, bindparam, func, insert, select, update

from tuned.domain.constraints import attributes
from tuned.domain.states import PointState
from tuned.experiment.experiment import defined
from tuned.storage.database import Database
from tuned.storage.encoding import Encoding
from tuned.storage.tables.schema import (
    studies,
    study_directions,
    t_point,
    t_study,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from tuned.storage.tables.transitions import move_point
from tuned.storage.trials import ends, trial_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tuned.domain.known_trial import KnownTrial
    from tuned.domain.space import Space

#: How many keys one statement asks for, because databases limit the number of parameters.
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The experiment that a row must fit."""

    study_id: int
    space: Space
    objectives: int


def target(database: Database, study_id: int, name: str) -> Target:
    """The experiment as the database defines it. Raises NotFound if it is gone."""
    with database.reading() as connection:
        definition = connection.execute(
            select(t_study.c.definition).where(t_study.c.study_id == study_id)
        ).scalar_one()
        objectives = connection.execute(
            select(func.count()).where(study_directions.c.study_id == study_id)
        ).scalar_one()
    return Target(study_id=study_id, space=defined(definition, name).space, objectives=objectives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How many trials became known, and how many were known already."""

    imported: int
    known: int


def import_known(database: Database, wanted: Target, found: Sequence[KnownTrial]) -> Imported:
    """Adds trials whose points have no value yet, each point once. Raises DatabaseAway, NotFound."""
    study_id = wanted.study_id
    with database.locking(studies, study_id) as connection:
        # A tell locks our row alone.
        connection.execute(select(t_study.c.study_id).where(t_study.c.study_id == study_id).with_for_update())
        states = dict(_states(connection, study_id, [trial.point.key for trial in found]))
        new: dict[str, KnownTrial] = {}
        for trial in found:
            # Of two rows of a point the first counts.
            if states.get(trial.point.key) != PointState.DONE:
                new.setdefault(trial.point.key, trial)
        if new:
            ids = _add(connection, study_id, list(new.values()), Encoding(wanted.space))
            visited = _visit(connection, study_id, dict(zip(new, ids, strict=True)), states)
            connection.execute(
                update(t_study)
                .where(t_study.c.study_id == study_id)
                .values(visited=t_study.c.visited + visited, complete=t_study.c.complete + len(new))
            )
            # They are counted here, so that no look takes them for news of another program.
            ends.judge_others(connection, study_id)
    return Imported(imported=len(new), known=len(found) - len(new))


def _states(connection: Connection, study_id: int, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for start in range(0, len(keys), _BATCH):
        of = t_point.c
        rows = connection.execute(
            select(of.key, of.state).where(
                of.study_id == study_id, of.replica == 0, of.key.in_(keys[start : start + _BATCH])
            )
        )
        yield from ((row.key, row.state) for row in rows)


def _add(connection: Connection, study_id: int, found: Sequence[KnownTrial], encoding: Encoding) -> list[int]:
    """Writes the trials in Optuna's tables, and returns their ids."""
    first = connection.execute(select(trial_rows.NEXT_NUMBER), {"study": study_id}).scalar_one()
    ids = list(
        connection.execute(
            insert(trials).returning(trials.c.trial_id, sort_by_parameter_order=True),
            [_trial(study_id, number, trial) for number, trial in enumerate(found, first)],
        ).scalars()
    )
    tables = (trial_params, trial_values, trial_user_attributes, trial_system_attributes)
    rows: dict[Any, list[Mapping[str, Any]]] = {table: [] for table in tables}
    for trial_id, trial in zip(ids, found, strict=True):
        rows[trial_params] += trial_rows.param_rows(trial_id, encoding.rows(trial.point))
        rows[trial_values] += trial_rows.value_rows(trial_id, trial.values)
        rows[trial_user_attributes] += trial_rows.attribute_rows(trial_id, trial.user_attrs)
        rows[trial_system_attributes] += trial_rows.attribute_rows(trial_id, attributes(trial.constraints))
    for table, of_table in rows.items():
        if of_table:
            connection.execute(insert(table), of_table)
    return ids


def _trial(study_id: int, number: int, trial: KnownTrial) -> dict[str, Any]:
    ended = trial_rows.utc_now() if trial.ended is None else trial_rows.stored_time(trial.ended)
    return {
        "study_id": study_id,
        "number": number,
        "state": TrialState.COMPLETE,
        "datetime_start": ended if trial.started is None else trial_rows.stored_time(trial.started),
        "datetime_complete": ended,
    }


def _visit(connection: Connection, study_id: int, ids: Mapping[str, int], states: Mapping[str, str]) -> int:
    """Gives points to their trials, and returns how many of them nobody had visited.

    A point that a host evaluates right now stays with it: it gets its value in any case.
    """
    made = [
        {"study_id": study_id, "key": key, "replica": 0, "trial_id": trial_id, "incarnation": "",
         "state": PointState.DONE}
        for key, trial_id in ids.items()
        if key not in states
    ]  # fmt: skip
    if made:
        connection.execute(insert(t_point), made)
    given = [
        {"its_key": key, "its_trial": trial_id}
        for key, trial_id in ids.items()
        if states.get(key, PointState.HELD) != PointState.HELD
    ]
    if given:
        of = t_point.c
        its_point = (of.study_id == study_id, of.replica == 0, of.key == bindparam("its_key"))
        give = move_point(PointState.DONE).where(*its_point)
        connection.execute(give.values(trial_id=bindparam("its_trial"), incarnation=""), given)
    return len(made) + sum(states.get(key) == PointState.FREE for key in ids)
