"""Until a study has its first value, crashes are not charged, and some that are alike pause it.

A script with a mistake would otherwise use up the budget. The pause is one of the whole fleet, so one sick
host must not cause it: as long as trials run on others, those show whether the script is at fault. This room
owns the rule and its SQL, which is a part of the TELL transaction. Each host has a breaker of its own beside
it (``search/search``).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, and_, bindparam, case, exists, not_, or_

from tuned.domain.states import PointState, StudyState
from tuned.storage.tables.schema import t_point, t_study, t_trial
from tuned.storage.tables.transitions import study_moved

if TYPE_CHECKING:
    from tuned.domain.ending import Ending, Failure

#: So many crashes in a row that are alike pause a study without a value.
MOST_ALIKE = 5

_LONGEST_REASON = 400

#: These differ between two runs of the same mistake.
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+")

_LIKENESS = bindparam("likeness", type_=String)

_IS_BROKEN = and_(bindparam("is_crash", type_=Integer) == 1, t_study.c.complete == 0)

_IS_ALIKE = and_(_IS_BROKEN, t_study.c.last_failure == _LIKENESS)

_HOST = bindparam("crashed_on", type_=String)

_BEGINS_ROW = t_study.c.last_failure.is_distinct_from(_LIKENESS)

#: All crashes of the row were on the host of this one.
_IS_OF_ONE = and_(_IS_BROKEN, or_(_BEGINS_ROW, t_study.c.alike_on.is_not_distinct_from(_HOST)))

_RUNS_ELSEWHERE = (
    exists()
    .where(
        t_point.c.study_id == t_study.c.study_id,
        t_point.c.state == PointState.HELD,
        t_trial.c.trial_id == t_point.c.trial_id,
        t_trial.c.host != _HOST,
    )
    .correlate(t_study)
)

_PAUSES = and_(
    _IS_ALIKE,
    t_study.c.alike >= MOST_ALIKE - 1,
    t_study.c.state == StudyState.OPEN,
    not_(and_(_IS_OF_ONE, _RUNS_ELSEWHERE)),
)

#: The columns of the study that the end of an evaluation changes, with the values of ``parameters``.
COLUMNS: dict[str, Any] = {
    "trials": t_study.c.trials - case((_IS_BROKEN, 1), else_=0),
    "evaluations": t_study.c.evaluations - case((_IS_BROKEN, bindparam("attempts", type_=Integer)), else_=0),
    "last_failure": _LIKENESS,
    "alike": case((_IS_ALIKE, t_study.c.alike + 1), (_IS_BROKEN, 1), else_=0),
    "alike_on": case((_IS_OF_ONE, _HOST), else_=None),
    "state": study_moved(StudyState.PAUSED, _PAUSES),
    "pause_reason": case((_PAUSES, bindparam("reason", type_=String)), else_=t_study.c.pause_reason),
}

#: The columns as they are before the first failure, and again when a person resumes the study.
AFRESH: dict[str, Any] = {"last_failure": None, "alike": 0, "alike_on": None, "pause_reason": None}

#: Whether the budget is charged for a trial that ends, for the bound study: false for such a crash.
IS_CHARGED = ~and_(
    bindparam("is_crash", type_=Integer) == 1,
    exists().where(t_study.c.study_id == bindparam("study"), t_study.c.complete == 0),
)


def parameters(ending: Ending | None, host: str) -> dict[str, Any]:
    """The values that ``COLUMNS`` is bound to; without an ending if another program ended the trial."""
    failure = None if ending is None else ending.failure
    crash = failure if failure is not None and failure.is_crash else None
    return {
        "is_crash": int(crash is not None),
        "attempts": 0 if ending is None else ending.evaluations,
        "crashed_on": host,
        "likeness": None if crash is None else _likeness(crash),
        "reason": None if crash is None else _reason(crash),
    }


def _likeness(failure: Failure) -> str:
    """The same for two failures of one cause and status whose words differ in numbers only."""
    words = _NUMBERS.sub("0", failure.message)
    text = f"{failure.cause} {sorted(failure.detail.items())} {words}"
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def _reason(failure: Failure) -> str:
    text = f"never succeeded: {MOST_ALIKE} evaluations in a row failed alike ({failure.message})"
    return text[:_LONGEST_REASON]
