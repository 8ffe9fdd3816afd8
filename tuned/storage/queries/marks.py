"""Tells whether an experiment has changed since somebody looked: one small mark for each.

It only reads, in one statement. A page that shows all experiments, again and again, reads only those with
another mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState
from sqlalchemy import select

from tuned.storage.tables.functions import all_trials, trials_in
from tuned.storage.tables.schema import ENDED, UID_KEPT, studies, study_system_attributes, t_study

if TYPE_CHECKING:
    from tuned.storage.database import Database

#: Columns of t_study by which an experiment looks different.
_SHOWN = (
    "uid", "revision", "state", "trials_limit", "evaluations_limit", "seconds_limit", "trials", "evaluations",
    "visited", *ENDED, "first_claim", "ended", "ended_by", "ends", "stalled", "pause_reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Differs from an earlier one of the same experiment if there is something new to show."""

    study_id: int
    name: str
    state: tuple[object, ...]


def marks(database: Database) -> list[Mark]:
    """All experiments that tuned knows, the newest last. Raises DatabaseAway."""
    query = (
        select(
            studies.c.study_id,
            studies.c.study_name,
            *(t_study.c[name] for name in _SHOWN),
            all_trials().label("all"),
            trials_in(TrialState.RUNNING).label("running"),
            trials_in(TrialState.WAITING).label("waiting"),
        )
        .select_from(t_study.join(studies, studies.c.study_id == t_study.c.study_id))
        .join(study_system_attributes, UID_KEPT)
        .order_by(studies.c.study_id)
    )
    with database.reading() as connection:
        found = connection.execute(query).all()
    return [Mark(study_id=each[0], name=str(each[1]), state=tuple(each[2:])) for each in found]
