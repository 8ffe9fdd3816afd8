"""Builds the statements that write our facts of a trial into ``t_trial``: one row, beside Optuna's.

Owns the columns that people and ``tunectl doctor`` ask for: kind, host, twin, cause of a failure. Optuna's
attributes repeat them, so that other programs see them; this module must never read those back. A trial
without a row belongs to another program. Callers open the transaction, and run these statements with those
that write the trial.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import Float, Integer, bindparam, case, select, update

from tuned.domain.claim import TrialKind
from tuned.storage.tables.schema import t_study, t_trial
from tuned.storage.tables.statements import Statement, insertion
from tuned.storage.trials import breaker

if TYPE_CHECKING:
    from tuned.domain.claim import Origin
    from tuned.domain.ending import Cause, Ending

#: An evaluation that was told so soon after its end has no wait worth a statement.
MOST_SECONDS_AT_ONCE = 1.0

#: The kinds of trials that no host evaluates, because another trial has their point.
DUPLICATES = (TrialKind.REUSED, TrialKind.SKIPPED)

_went_well = (
    select(t_study.c.complete + t_study.c.pruned)
    .where(t_study.c.study_id == bindparam("study"))
    .scalar_subquery()
)

_END = (
    update(t_trial)
    .where(t_trial.c.trial_id == bindparam("ended_trial"))
    .values(
        cause=bindparam("its_cause"),
        attempts=bindparam("its_attempts"),
        is_charged=breaker.IS_CHARGED,
        went_well=case((bindparam("is_crash", type_=Integer) == 1, _went_well), else_=None),
        waited_seconds=bindparam("its_wait", type_=Float),
    )
)

_CHARGED = (
    update(t_trial)
    .where(t_trial.c.trial_id == bindparam("charged_trial"))
    .values(evaluations=bindparam("its_evaluations", type_=Integer))
)

_FAIL = (
    update(t_trial).where(t_trial.c.trial_id == bindparam("ended_trial")).values(cause=bindparam("its_cause"))
)


def written(
    trial_id: int,
    kind: TrialKind,
    *,
    origin: Origin,
    host: str | None,
    claim_id: str | None = None,
    twin_id: int | None = None,
    cause: Cause | None = None,
    attempts: int = 1,
    revision: int | None = None,
    waited_seconds: float | None = None,
) -> Statement | None:
    """Records a trial that becomes one of ours."""
    row = {
        "trial_id": trial_id,
        "kind": kind,
        "origin": origin,
        "claim_id": claim_id,
        "host": host,
        "twin_id": twin_id,
        "cause": cause,
        "attempts": attempts,
        "revision": revision,
        "waited_seconds": waited_seconds,
    }
    return insertion(t_trial, [row])


def ended(study_id: int, trial_id: int, ending: Ending) -> Statement | None:
    """Records that a trial ended by itself; None if its row needs no change."""
    waited = waited_seconds(ending)
    if ending.failure is None and ending.attempts == 1 and waited is None:
        return None
    return Statement(
        _END,
        {
            "ended_trial": trial_id,
            "its_cause": None if ending.failure is None else ending.failure.cause,
            "its_attempts": ending.attempts,
            "study": study_id,
            "is_crash": int(ending.failure is not None and ending.failure.is_crash),
            "its_wait": waited,
        },
    )


def waited_seconds(ending: Ending) -> float | None:
    """How long an ending waited to be told now; None if that is at once."""
    waited = time.time() - ending.ended
    return waited if waited > MOST_SECONDS_AT_ONCE else None


def charged(trial_id: int, evaluations: int) -> Statement | None:
    """Records how many evaluations a new trial was charged with; None if it is the one that its row has."""
    return (
        None
        if evaluations == 1
        else Statement(_CHARGED, {"charged_trial": trial_id, "its_evaluations": evaluations})
    )


def interrupted(trial_id: int, cause: Cause) -> Statement:
    """Records that a trial was settled. The number of its attempts is unknown then."""
    return Statement(_FAIL, {"ended_trial": trial_id, "its_cause": cause})
