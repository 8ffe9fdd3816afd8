"""Charges to a study's budget: one statement that also decides whether a trial may start.

Callers hold the study's lock, so if one host is refused, all hosts are refused for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, and_, bindparam, exists, func, not_, or_, select, update

from tuned.domain.claim import TrialKind
from tuned.domain.states import PointState, StudyState
from tuned.errors import NotFound
from tuned.storage.tables import statements
from tuned.storage.tables.functions import affected, epoch, is_below
from tuned.storage.tables.schema import t_host, t_point, t_study, t_trial, trials
from tuned.storage.trials import trial_rows

if TYPE_CHECKING:
    from tuned.storage.database import Database

#: The time left for new trials to start: all of it before the first claim, NULL without a limit.
SECONDS_LEFT = t_study.c.seconds_limit - func.coalesce(epoch() - t_study.c.first_claim, 0.0)

IS_OUT_OF_TIME = and_(t_study.c.seconds_limit.is_not(None), SECONDS_LEFT <= 0)

#: The budget's condition: true while a new trial may start.
WITHIN_BUDGET = and_(
    is_below(t_study.c.trials, t_study.c.trials_limit),
    is_below(t_study.c.evaluations, t_study.c.evaluations_limit),
    not_(IS_OUT_OF_TIME),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The rights that a charge gives."""

    #: The id of the new trial, if the caller writes one.
    trial_id: int
    number: int
    #: The point has a row already, because a host held it before. It is free again.
    is_known: bool


#: The bound point of the bound study.
_OF_POINT = (
    t_point.c.study_id == bindparam("study"),
    t_point.c.key == bindparam("point"),
    t_point.c.replica == bindparam("its_replica"),
)

_CHARGE = (
    update(t_study)
    .where(t_study.c.study_id == bindparam("study"))
    .where(exists().where(t_host.c.incarnation == bindparam("claimant"), t_host.c.dead.is_(False)))
    .where(~exists().where(*_OF_POINT, t_point.c.state != PointState.FREE))
    .values(
        trials=t_study.c.trials + 1,
        evaluations=t_study.c.evaluations + bindparam("its_evaluations"),
        reused=t_study.c.reused + bindparam("is_reused"),
        skipped=t_study.c.skipped + bindparam("is_skipped"),
        first_claim=func.coalesce(t_study.c.first_claim, epoch()),
    )
    .returning(*trial_rows.NEXT_TRIAL, exists().where(*_OF_POINT).label("is_known"))
)

_CHARGE_NEW = _CHARGE.where(t_study.c.state == StudyState.OPEN, WITHIN_BUDGET).where(
    is_below(t_study.c.visited, t_study.c.size), t_study.c.ended_by.is_(None)
)

#: For an evaluation that has begun already: time and a pause do not stop it.
_CHARGE_AGAIN = _CHARGE.where(
    # Not IN, because SQLAlchemy expands it only when it runs the statement itself.
    or_(t_study.c.state == StudyState.OPEN, t_study.c.state == StudyState.PAUSED),
    is_below(t_study.c.trials, t_study.c.trials_limit),
    is_below(t_study.c.evaluations + bindparam("its_evaluations") - 1, t_study.c.evaluations_limit),
)


def charge(
    connection: Connection, study_id: int, *, key: str, replica: int, kind: TrialKind, incarnation: str
) -> Allowance | None:
    """Charges one trial, and counts it as ended if it is a duplicate.

    Returns None if the point is taken, the study is closed or full, or the host was declared dead.
    """
    row = statements.first(
        connection,
        _CHARGE_NEW,
        {
            "study": study_id,
            "point": key,
            "its_replica": replica,
            "its_evaluations": int(kind is TrialKind.EVALUATED),
            "is_reused": int(kind is TrialKind.REUSED),
            "is_skipped": int(kind is TrialKind.SKIPPED),
            "claimant": incarnation,
        },
    )
    return _allowance(row)


def charge_again(
    connection: Connection, study_id: int, *, key: str, replica: int, attempts: int, incarnation: str
) -> Allowance | None:
    """Charges a trial that runs already, with so many attempts, because the database has forgotten its claim.

    Returns None as ``charge`` does.
    """
    row = statements.first(
        connection,
        _CHARGE_AGAIN,
        {
            "study": study_id,
            "point": key,
            "its_replica": replica,
            "its_evaluations": attempts,
            "is_reused": 0,
            "is_skipped": 0,
            "claimant": incarnation,
        },
    )
    return _allowance(row)


def _allowance(row: Row[Any] | None) -> Allowance | None:
    return (
        None
        if row is None
        else Allowance(trial_id=row.trial_id, number=row.number, is_known=bool(row.is_known))
    )


def charge_retry(database: Database, study_id: int, claim_id: str, charged: int) -> bool:
    """Charges one more evaluation to a claim's trial, to which so many are charged.

    It may be called again if its answer was lost. Returns False if the budget is full or the trial has ended.
    """
    of_claim = t_trial.c.claim_id == claim_id
    running = select(t_trial.c.evaluations).join(trials, trials.c.trial_id == t_trial.c.trial_id)
    running = running.where(of_claim, trials.c.state == TrialState.RUNNING)
    study = t_study.c
    try:
        # A host that settles the trial takes this lock first.
        with database.locking(t_study, study_id) as connection:
            known = connection.execute(running).scalar()
            if known is None or known > charged:
                return known is not None
            # A database that lost its last transactions may know fewer.
            last = study.evaluations + (charged - known)
            more = update(t_study).where(study.study_id == study_id, is_below(last, study.evaluations_limit))
            if affected(connection.execute(more.values(evaluations=last + 1))) == 0:
                return False
            connection.execute(update(t_trial).where(of_claim).values(evaluations=charged + 1))
            return True
    except NotFound:
        return False
