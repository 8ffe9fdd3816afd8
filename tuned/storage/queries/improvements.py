"""How the best value of a study came about: the trials that were better than all before them.

It only reads. The database finds them, so that the values of a large study are not loaded, unless it has
constraints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Row, Select, func, or_, select

from tuned.protocol.limits import MOST_IMPROVEMENTS
from tuned.storage.database import Database
from tuned.storage.queries.experiments import directions_of
from tuned.storage.queries.readable import readable
from tuned.storage.tables.schema import trial_values, trials
from tuned.storage.trials.constraints import infeasible
from tuned.storage.trials.trial_rows import INFINITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tuned.protocol.trials import ImprovementsView


def improvements(database: Database, study_id: int) -> ImprovementsView:
    """By the first value, and feasible; at most 100, evenly, the first and the last included."""
    with readable(), database.reading() as connection:
        direction = directions_of(connection, [study_id])[study_id][0]
        found = _found(connection, study_id, -1 if direction is StudyDirection.MAXIMIZE else 1)
    return {
        "improvements": [
            {"number": row.number, "value": row.value} for row in _some(found, MOST_IMPROVEMENTS)
        ]
    }


def _found(connection: Connection, study_id: int, sign: int) -> Sequence[Row[Any]]:
    complete = _complete(study_id, sign).subquery()
    better = or_(complete.c.before.is_(None), complete.c.loss < complete.c.before)
    found = connection.execute(select(complete).where(better).order_by(complete.c.number)).all()
    if infeasible(connection, [row.trial_id for row in found]):
        # Constraints are rare, so this reads those of all trials only if they matter.
        rows = connection.execute(select(complete).order_by(complete.c.number)).all()
        violating = infeasible(connection, select(complete.c.trial_id))
        found = list(_improving(row for row in rows if row.trial_id not in violating))
    return found


def _complete(study_id: int, sign: int) -> Select[tuple[Any, ...]]:
    """The trials with a finite value, with the number to minimize, and the least of it before them."""
    loss = trial_values.c.value * sign
    before = func.min(loss).over(order_by=trials.c.number, rows=(None, -1))
    first_value = (trial_values.c.trial_id == trials.c.trial_id) & (trial_values.c.objective == 0)
    return (
        select(
            trials.c.trial_id,
            trials.c.number,
            trial_values.c.value,
            loss.label("loss"),
            before.label("before"),
        )
        .join(trial_values, first_value)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.COMPLETE, INFINITY == 0)
    )


def _improving(rows: Iterable[Row[Any]]) -> Iterator[Row[Any]]:
    least = None
    for row in rows:
        if least is None or row.loss < least:
            least = row.loss
            yield row


def _some(rows: Sequence[Row[Any]], most: int) -> Sequence[Row[Any]]:
    if len(rows) <= most:
        return rows
    return [rows[index * (len(rows) - 1) // (most - 1)] for index in range(most)]
