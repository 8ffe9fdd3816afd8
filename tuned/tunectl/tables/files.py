"""Trials as tables in files: CSV, JSON Lines and Parquet, with the columns of Optuna's ``trials_dataframe``.

It owns the names and the order of the columns, and how each format writes a value. It asks nobody, and prints
nothing.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tuned.domain.known_trial import CONSTRAINTS, PARAMS, USER_ATTRS, row_of_json, value_columns
from tuned.errors import InvalidInput, Problem, TunedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tuned.protocol.tables import ExportedTrial

    Row: TypeAlias = dict[str, object]

Format = Literal["csv", "jsonl", "parquet"]

FORMATS: tuple[Format, ...] = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A row of a file, and where it stands, for people."""

    place: str
    row: Row


def format_of(path: Path) -> Format:
    """By the ending of the file's name; CSV if that says nothing."""
    ending = path.suffix.lower().removeprefix(".")
    return next((each for each in FORMATS if each == ending), "csv")


def row_of(trial: ExportedTrial, *, has_one_objective: bool) -> Row:
    """A trial's columns; those that it has no value for are missing."""
    values = [float(each) for each in trial["values"] or ()]
    names = value_columns(1 if has_one_objective else len(values))
    started, ended = (_moment(trial["started"]), _moment(trial["ended"]))
    row: Row = {"number": trial["number"]}
    row |= dict(zip(names, values, strict=False))
    row |= {"datetime_start": started, "datetime_complete": ended}
    row["duration"] = ended - started if started and ended else None
    row |= {f"{PARAMS}{name}": value for name, value in trial["params"].items()}
    attributes = trial.get("user_attrs", {})
    row |= {f"{USER_ATTRS}{name}": json.loads(text) for name, text in attributes.items()}
    constraints = trial["constraints"].items()
    row |= {f"{CONSTRAINTS}:{name}": float(value) for name, value in constraints}
    row["state"] = trial["state"]
    return row


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Each column that a row has, in Optuna's order."""
    order = ["number", "value", "datetime", "duration", "params", "user", "system", "state"]

    def place(name: str) -> tuple[int, str]:
        first = name.partition("_")[0].replace("values", "value")
        return order.index(first), "" if first in {"value", "datetime"} else name

    # The columns of values and times are in their order already.
    given = dict.fromkeys(name for row in rows for name in row)
    return sorted(given, key=place)


def written(rows: Sequence[Row], kind: Format) -> bytes:
    """The whole file. Raises TunedError if a package is missing that the format needs."""
    return _WRITERS[kind](rows)


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO(newline="")
    names = columns_of(rows)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _cell(value: object) -> str:
    """As pandas writes it; what has parts as JSON."""
    match value:
        case None:
            return ""
        case timedelta():
            hours, rest = divmod(value.seconds, 3600)
            clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}.{value.microseconds:06}"
            return f"{value.days} days {clock}"
        case dict() | list():
            return json.dumps(value)
        case _:
            return str(value)


def _json_lines(rows: Sequence[Row]) -> bytes:
    names = columns_of(rows)
    lines = (
        json.dumps({name: plain[name] for name in names if name in plain}) for plain in map(as_json, rows)
    )
    return "".join(f"{line}\n" for line in lines).encode()


def as_json(row: Row) -> Row:
    """The row with values that JSON has."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return value


def _parquet(rows: Sequence[Row]) -> bytes:
    arrow, parquet = _pyarrow()
    columns = {name: _column(arrow, [row.get(name) for row in rows]) for name in columns_of(rows)}
    file = io.BytesIO()
    parquet.write_table(arrow.table(columns), file)
    return file.getvalue()


def _column(arrow: Any, values: list[object]) -> Any:
    if any(isinstance(each, dict | list) for each in values):
        values = [None if each is None else json.dumps(each) for each in values]
    try:
        return arrow.array(values)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        # A column has one type, and choices may have several.
        return arrow.array([None if each is None else _cell(each) for each in values])


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise TunedError(
            "cannot read or write Parquet: the package pyarrow is not installed beside tuned; "
            "CSV and JSON Lines need none"
        ) from None


_WRITERS: Mapping[Format, Callable[[Sequence[Row]], bytes]] = {
    "csv": _csv,
    "jsonl": _json_lines,
    "parquet": _parquet,
}


def read(path: Path) -> list[Labelled]:
    """The rows of a file. Raises InvalidInput if it is no table, TunedError as ``written`` does, OSError."""
    return list(_READERS[format_of(path)](path))


def _read_csv(path: Path) -> Iterator[Labelled]:
    try:
        # pandas and spreadsheets may begin a file with a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                yield Labelled(f"line {reader.line_num}", {name: row[name] for name in row if name})
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            Problem(file=str(path), key="", found=str(error), expected="a CSV file in UTF-8")
        ) from None


def _read_json_lines(path: Path) -> Iterator[Labelled]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        yield Labelled(f"line {number}", row_of_json(line, number, str(path)))


def _read_parquet(path: Path) -> Iterator[Labelled]:
    arrow, parquet = _pyarrow()
    try:
        rows = parquet.read_table(path).to_pylist()
    except arrow.ArrowInvalid as error:
        raise InvalidInput(
            Problem(file=str(path), key="", found=str(error), expected="a Parquet file")
        ) from None
    for number, row in enumerate(rows, 1):
        yield Labelled(f"row {number}", as_json(row))


_READERS: Mapping[Format, Callable[[Path], Iterator[Labelled]]] = {
    "csv": _read_csv,
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
