"""The trials that run in the whole fleet now, and their intermediate values.

It only reads. A trial is found by the point that its host holds, so that the trials that have ended cost
nothing, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from optuna.trial import TrialState
from sqlalchemy import select

from tuned.domain.states import PointState
from tuned.storage.queries.trials import as_text, by_id, some_reports
from tuned.storage.queries.trials import report as report_view
from tuned.storage.tables.schema import studies, t_point, t_trial, trials

if TYPE_CHECKING:
    from tuned.protocol.fields import Params, Time
    from tuned.protocol.trials import ReportView
    from tuned.storage.database import Database

#: How many of them are listed, with their intermediate values.
MOST_RUNNING = 500

#: How many curves one chart can show.
MOST_CURVES = 20


class RunningView(TypedDict):
    """One trial that runs, wherever it does."""

    experiment: str
    number: int
    host: str | None
    started: Time | None
    params: Params
    #: The intermediate value of its highest step.
    report: ReportView | None


def running(database: Database) -> list[RunningView]:
    """By experiment and number. Raises DatabaseAway, Conflict."""
    query = (
        select(trials.c.trial_id, studies.c.study_name)
        .select_from(t_point)
        .join(trials, trials.c.trial_id == t_point.c.trial_id)
        .join(studies, studies.c.study_id == trials.c.study_id)
        .join(t_trial, t_trial.c.trial_id == trials.c.trial_id)
        .where(t_point.c.state == PointState.HELD, trials.c.state == TrialState.RUNNING)
        .order_by(studies.c.study_id, trials.c.trial_id)
        .limit(MOST_RUNNING)
    )
    with database.reading() as connection:
        found = {row.trial_id: str(row.study_name) for row in connection.execute(query)}
        views = by_id(connection, list(found))
    return [
        {
            "experiment": found[trial_id],
            "number": view["number"],
            "host": as_text(view["host"]),
            "started": view["started"],
            "params": view["params"],
            "report": view["report"],
        }
        for trial_id, view in zip(sorted(found), views, strict=True)
    ]


def curves(database: Database, study_id: int) -> dict[int, list[ReportView]]:
    """The intermediate values of the newest running trials, by number; at most 100 of each."""
    query = (
        select(trials.c.trial_id, trials.c.number)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING)
        .order_by(trials.c.trial_id.desc())
        .limit(MOST_CURVES)
    )
    with database.reading() as connection:
        numbers = {row.trial_id: row.number for row in connection.execute(query)}
        reports = some_reports(connection, list(numbers))
    of_trials = {numbers[trial]: [report_view(row) for row in rows] for trial, rows in reports.items()}
    return {number: of_trials[number] for number in sorted(of_trials)}
