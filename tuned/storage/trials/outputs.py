"""The end of the output of failed trials, so that each host can show why one failed.

The tell that fails a trial writes it. Bytes as the trial printed them: a database may have an encoding that
cannot hold the text, and text has no NUL on PostgreSQL. Of each study only the newest ones are kept, because
a study may have any number of failures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, delete, select

from tuned.storage.tables.schema import t_output, t_trial, trials
from tuned.storage.tables.statements import Statement, insertion

if TYPE_CHECKING:
    from tuned.domain.result import Result
    from tuned.storage.database import Database

#: Of each study.
MOST_OUTPUTS = 1000


@dataclass(frozen=True, slots=True)
class KeptOutput:
    """The end of one trial's output."""

    host: str
    output: bytes


_newest = (
    select(t_output.c.trial_id)
    .where(t_output.c.study_id == bindparam("study"))
    .order_by(t_output.c.trial_id.desc())
    .limit(1)
    .offset(bindparam("newer", type_=Integer))
    .scalar_subquery()
)

#: Leaves room for one more.
_FORGET = delete(t_output).where(t_output.c.study_id == bindparam("study"), t_output.c.trial_id <= _newest)


def kept(trial_id: int, result: Result) -> tuple[Statement, ...]:
    """Keeps the output of a trial that has just ended, if it left any and failed."""
    if not result.output or result.ending.failure is None:
        return ()
    row = {"trial_id": trial_id, "study_id": result.study_id, "output": result.output}
    added = insertion(t_output, [row])
    assert added is not None
    return Statement(_FORGET, {"study": result.study_id, "newer": MOST_OUTPUTS - 1}), added


def kept_output(database: Database, study_id: int, number: int) -> KeptOutput | None:
    """The output of this trial; None if the database has none."""
    with database.reading() as connection:
        row = connection.execute(
            select(t_trial.c.host, t_output.c.output)
            .join(t_trial, t_trial.c.trial_id == t_output.c.trial_id)
            .join(trials, trials.c.trial_id == t_output.c.trial_id)
            .where(trials.c.study_id == study_id, trials.c.number == number)
        ).first()
    return None if row is None else KeptOutput(row.host, row.output)
