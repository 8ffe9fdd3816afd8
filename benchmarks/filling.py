"""Fills a study with trials by a few statements, as if hosts had evaluated them: thousands in a second."""

from __future__ import annotations

from optuna.trial import TrialState
from sqlalchemy import Connection, text

from tests.factories import Member
from tuned.domain.space import CategoricalParameter, FloatParameter, IntParameter, Parameter
from tuned.domain.states import PointState
from tuned.storage.database import Database

#: Numbers from 0 to below 1 that are spread evenly, by the trial's number and a factor.
_SPREAD = "((CAST(number AS BIGINT) * {factor}) % 99991) / 99991.0"

_FACTORS = (7919, 104729, 1299709, 15485863, 32452843)

_TRIALS = """
WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < :count - 1)
INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
SELECT :first + n, :study, :state, CURRENT_TIMESTAMP, :ended FROM counted ORDER BY n
"""

_PARAM = """
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
SELECT trial_id, :name, {value}, :distribution FROM trials WHERE study_id = :study AND number >= :first
"""

_VALUE = """
INSERT INTO trial_values (trial_id, objective, value, value_type)
SELECT trial_id, 0, {value}, 'FINITE' FROM trials WHERE study_id = :study AND number >= :first
"""

_HOST = """
INSERT INTO trial_user_attributes (trial_id, key, value_json)
SELECT trial_id, 'HOST', '{{"host": "filler"}}' FROM trials WHERE study_id = :study AND number >= :first
"""

_POINT = """
INSERT INTO t_point (study_id, key, replica, trial_id, incarnation, state)
SELECT :study, {key}, 0, trial_id, '', :verdict FROM trials
WHERE study_id = :study AND number >= :first
"""


def fill(member: Member, count: int, state: TrialState = TrialState.COMPLETE) -> None:
    """Adds so many trials to the member's study, COMPLETE or RUNNING, each with a point of its own."""
    database, study_id = member.database, member.status.study_id
    with database.transaction() as connection:
        last = "SELECT coalesce(max(number), -1) FROM trials WHERE study_id = :study"
        first = connection.execute(text(last), {"study": study_id}).scalar_one() + 1
        place = {"study": study_id, "first": first}
        is_done = state is TrialState.COMPLETE
        ended = "2025-01-31 12:00:00" if is_done else None
        _run(connection, _TRIALS, **place, count=count, state=state.name, ended=ended)
        distributions = {
            row.param_name: row.distribution_json
            for row in member.encoding.rows(member.source().uniform().point)
        }
        for parameter, factor in zip(member.experiment.space.parameters, _FACTORS, strict=False):
            statement = _PARAM.format(value=_value(parameter, _SPREAD.format(factor=factor)))
            distribution = distributions[parameter.name]
            _run(connection, statement, **place, name=parameter.name, distribution=distribution)
        if is_done:
            _run(connection, _VALUE.format(value=_SPREAD.format(factor=6700417)), **place)
        _run(connection, _HOST.format(), **place)
        key = "md5(random()::text || trial_id)" if database.is_postgresql else "lower(hex(randomblob(16)))"
        verdict = PointState.DONE if is_done else PointState.HELD
        _run(connection, _POINT.format(key=key), **place, verdict=verdict)


def vacuum(database: Database) -> None:
    """Vacuums now, as PostgreSQL does by itself within a minute after many new rows."""
    if database.is_postgresql:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _value(parameter: Parameter, spread: str) -> str:
    match parameter:
        case FloatParameter(step=None, low=low, high=high):
            return f"{low!r} + {spread} * {high - low!r}"
        case FloatParameter(low=low, step=step, size=size):
            return f"{low!r} + {step!r} * (number % {size})"
        case IntParameter(low=low, step=step, size=size):
            return f"{low} + {step} * (number % {size})"
        case CategoricalParameter(size=size):
            return f"number % {size}"


def _run(connection: Connection, statement: str, **values: object) -> None:
    connection.execute(text(statement), values)
