"""A trial that was evaluated elsewhere, from a row of a table with the columns of Optuna's dataframe.

It owns which point and which values such a row means. A row of a CSV file has text in all its columns, one of
JSON has numbers and booleans too.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuned.domain.attributes import RESERVED_ATTRIBUTES, attribute_problem
from tuned.domain.constraints import constraint_problem
from tuned.domain.counts import counted
from tuned.domain.space import CategoricalParameter, Point, Space, Value
from tuned.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuned.domain.space import Parameter

PARAMS = "params_"

USER_ATTRS = "user_attrs_"

#: As Optuna's dataframe has them.
CONSTRAINTS = "system_attrs_constraints"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTrial:
    """A COMPLETE trial that this fleet did not evaluate."""

    point: Point
    values: tuple[float, ...]
    #: UTC. None if the row does not say it.
    started: dt.datetime | None
    ended: dt.datetime | None
    user_attrs: Mapping[str, object]
    constraints: Mapping[str, float]


def value_columns(objectives: int) -> list[str]:
    """The columns of a trial's values."""
    return ["value"] if objectives == 1 else [f"values_{number}" for number in range(objectives)]


def row_of_json(line: bytes, number: int, file: str) -> dict[str, Any]:
    """A row that is written as a JSON object. Raises InvalidInput that names its line, from 1."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise InvalidInput(
            Problem(file=file, key=f"line {number}", found="no JSON object", expected="a row as one")
        )
    return row


def known_trial(row: Mapping[str, object], space: Space, objectives: int) -> KnownTrial:
    """The trial that a row is. Raises ValueError that says why it is none of this space."""
    filled = {name: value for name, value in row.items() if _is_filled(value)}
    state = filled.get("state", "COMPLETE")
    if state != "COMPLETE":
        raise ValueError(f"its state is {state}, expected COMPLETE")
    return KnownTrial(
        point=space.point(_params(row, space)),
        values=_values(filled, objectives),
        started=_time(filled, "datetime_start"),
        ended=_time(filled, "datetime_complete"),
        user_attrs=_user_attrs(filled),
        constraints=_constraints(filled),
    )


def _params(row: Mapping[str, object], space: Space) -> dict[str, Value]:
    known = {parameter.name: parameter for parameter in space.parameters}
    found: dict[str, Value] = {}
    for column, value in row.items():
        name = column.removeprefix(PARAMS)
        if name != column and _is_given(known.get(name), value):
            found[name] = _param(known[name], value) if name in known else str(value)
    return found


def _is_given(parameter: Parameter | None, value: object) -> bool:
    if value == "" and isinstance(parameter, CategoricalParameter):
        return "" in parameter.choices
    return _is_filled(value)


def _is_filled(value: object) -> bool:
    return value is not None and value != ""


def _param(parameter: Parameter, value: object) -> Value:
    """The value as a space has it; text of a number becomes that number."""
    if not isinstance(value, str):
        if isinstance(value, int | float):
            return value
        raise ValueError(f"{parameter.name}: {json.dumps(value)} is no value of a parameter")
    if isinstance(parameter, CategoricalParameter):
        return _choice(parameter, value)
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{parameter.name}: {value!r} is not a number") from None


def _choice(parameter: CategoricalParameter, text: str) -> Value:
    """The choice that is written so."""
    if text in parameter.choices:
        return text
    written = {_written(choice): choice for choice in parameter.choices if not isinstance(choice, str)}
    return written.get(_normal(text), text)


def _written(choice: Value) -> Value:
    """Text for a boolean, because Python takes 1 and True for the same key."""
    return str(choice).lower() if isinstance(choice, bool) else choice


def _normal(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text.lower()


def _values(row: Mapping[str, object], objectives: int) -> tuple[float, ...]:
    columns = value_columns(objectives)
    beyond = "values_0" if objectives == 1 else f"values_{objectives}"
    if beyond in row:
        raise ValueError(f"it has a column {beyond}, and the experiment {counted(objectives, 'objective')}")
    return tuple(_value(row, column) for column in columns)


def _value(row: Mapping[str, object], column: str) -> float:
    try:
        value = float(str(row[column]))
    except KeyError:
        raise ValueError(f"it has no {column}") from None
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"{column}: {row[column]!r} is not a number")
    return value


def _time(row: Mapping[str, object], column: str) -> dt.datetime | None:
    """A time without a zone is this host's, as Optuna writes it."""
    if column not in row:
        return None
    try:
        return dt.datetime.fromisoformat(str(row[column])).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{column}: {row[column]!r} is not a time") from None


def _user_attrs(row: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for column, value in row.items():
        name = column.removeprefix(USER_ATTRS)
        if name == column or name in RESERVED_ATTRIBUTES:
            continue
        if problem := attribute_problem(name):
            raise ValueError(f"{column}: {problem}")
        found[name] = _json(value) if isinstance(value, str) else value
    return found


def _constraints(row: Mapping[str, object]) -> dict[str, float]:
    if CONSTRAINTS in row:
        raise ValueError(
            f"it has a column {CONSTRAINTS}, expected one for each constraint: {CONSTRAINTS}:NAME"
        )
    found: dict[str, float] = {}
    for column in row:
        name = column.removeprefix(f"{CONSTRAINTS}:")
        if name != column:
            number = _value(row, column)
            if problem := constraint_problem(name, number):
                raise ValueError(f"{column}: {problem}")
            found[name] = number
    return found


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
