"""The outbox: results on this host's disk until the database has them, and the newest of them for longer.

It owns one directory of the state directory. A record is durable when ``put`` returns. ``keep`` puts a told
record away into ``told/``, in case the database forgets it, and only ``discard`` and newer told records
remove one. It must never change a record, or stop at one that it cannot read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config

from tuned.disk import files
from tuned.domain.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails
    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

#: Far more than a result with all its intermediate values.
MOST_BYTES = 256 * 2**20

#: How many told records are kept.
MOST_TOLD = 1000

#: The database's integers are no larger.
_LARGEST_INTEGER = 2**63

#: In seconds since 1970.
_YEAR_10000 = 253_402_300_800

#: How many problems of a record a person is told.
_MOST_PROBLEMS = 3

_RECORD = re.compile(r"[0-9]{12}\.json")

_NUMBERED = re.compile(r"[0-9]{12}")


class Outbox:
    """Records in the order of their names, across restarts. Any thread may put."""

    def __init__(self, directory: Path) -> None:
        """The caller holds the state directory's lock: nobody else writes here."""
        self._directory = directory
        self._told_directory = directory / "told"
        for each in (directory, self._told_directory):
            files.make_directory(each, 0o700)
            files.remove_temporaries(each)
        told = (path.name for path in self._told_directory.iterdir() if _RECORD.fullmatch(path.name))
        #: The names of told records, oldest first.
        self._told = deque(sorted(told))
        self._telling = threading.Lock()
        # Records that were set aside count too, so that no later one takes their number.
        numbers = [number_of(path.name) for path in directory.iterdir() if _NUMBERED.match(path.name)]
        self._numbers = itertools.count(max([*numbers, self.newest_told]) + 1)

    def new_name(self) -> str:
        """For the next record."""
        return f"{next(self._numbers):012d}.json"

    def path_of(self, name: str) -> Path:
        """Of a record that is not told yet."""
        return self._directory / name

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes it durably. Raises OSError when it cannot, such as on a full disk."""
        # Two fsyncs: one makes the content durable, one the name.
        files.write(self.path_of(name), json.dumps(dict(record)).encode(), mode=0o600)

    def pending(self) -> list[tuple[str, dict[str, Any]]]:
        """The records that were put and not yet discarded, oldest first; any other file is set aside."""
        records = []
        for path in sorted(self._directory.iterdir()):
            is_ours = path == self._told_directory or path.name.endswith(".corrupt")
            if is_ours or path.name.startswith("."):
                continue
            record = self._readable(path)
            if record is not None:
                records.append((path.name, record))
        return records

    def keep(self, name: str) -> None:
        """Puts a told record away, and forgets the oldest of more than ``MOST_TOLD``.

        Not made durable: a record that a power cut brings back is told again, which changes nothing.
        """
        with self._telling:
            with contextlib.suppress(FileNotFoundError):
                (self._directory / name).replace(self._told_directory / name)
                self._told.append(name)
            while len(self._told) > MOST_TOLD:
                (self._told_directory / self._told.popleft()).unlink(missing_ok=True)

    @property
    def newest_told(self) -> int:
        """The number of the newest told record; 0 without one."""
        return number_of(max(self._told)) if self._told else 0

    def take_back(self, after: int) -> list[tuple[str, dict[str, Any]]]:
        """Makes the told records with higher numbers pending again, and returns them, oldest first."""
        with self._telling:
            forgotten = [name for name in sorted(self._told) if number_of(name) > after]
            for name in forgotten:
                with contextlib.suppress(FileNotFoundError):
                    (self._told_directory / name).replace(self._directory / name)
                self._told.remove(name)
        records = ((name, self._readable(self._directory / name)) for name in forgotten)
        return [(name, record) for name, record in records if record is not None]

    def discard(self, name: str) -> None:
        """Forgets a record that nobody needs. Not an error if it is gone already, and not made durable."""
        (self._directory / name).unlink(missing_ok=True)

    def set_aside(self, name: str, reason: str) -> None:
        """Gives a record that cannot be told another name, so that nobody reads it again but a person."""
        path = self._directory / name
        aside = path.with_name(f"{name}.corrupt")
        _log.error("result set aside", file=str(aside), reason=reason)
        with contextlib.suppress(OSError):
            path.replace(aside)

    def _readable(self, path: Path) -> dict[str, Any] | None:
        """The content of a record; None if it cannot be read."""
        try:
            return _read(path)
        except FileNotFoundError:
            return None  # Removed by another thread since the directory was read.
        except OSError as error:
            # The disk may give it back later: it stays in its place.
            _log.error("result cannot be read", file=str(path), error=str(error))
            return None
        except (files.Unfit, ValueError, RecursionError) as error:
            self.set_aside(path.name, str(error))
            return None


def number_of(name: str) -> int:
    """The number of a record with this name."""
    return int(name[:12])


def _read(path: Path) -> dict[str, Any]:
    if not _RECORD.fullmatch(path.name):
        raise ValueError("no file of this name belongs in the outbox")
    with files.open_regular(path, MOST_BYTES) as file:
        record = json.loads(file.read())
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 (wrong content, not a wrong call)
    return record


def encode(result: Result) -> dict[str, Any]:
    """The record of a result."""
    record: dict[str, Any] = _RESULT.dump_python(result, mode="json")
    return record


def decode(record: Mapping[str, Any]) -> Result:
    """The result of a record. Raises ValueError, and nothing else, if it is the record of none."""
    try:
        # Half a surrogate pair, as in the name of a file that is not UTF-8, is no text: it becomes "?".
        text = json.dumps(dict(record), ensure_ascii=False).encode(errors="replace")
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    try:
        # As JSON, in which lists are tuples and words are enums, but nothing else is converted.
        return _RESULT.validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError("; ".join(map(_problem, error.errors(include_url=False)[:_MOST_PROBLEMS]))) from None


def _problem(found: ErrorDetails) -> str:
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else found["msg"]


def _tellable(result: Result) -> Result:
    for number in (result.study_id, result.trial_id, result.number, *result.ending.intermediate):
        if not -_LARGEST_INTEGER <= number < _LARGEST_INTEGER:
            raise ValueError("a number of over 64 bits")
    for seconds in (result.beginning.started, result.ending.ended):
        if not 0 <= seconds < _YEAR_10000:
            raise ValueError("a time outside of the years 1970 to 9999")
    values = result.ending.values
    if values is not None and (not values or any(map(math.isnan, values))):
        raise ValueError("values that are no numbers")
    if any(map(math.isnan, result.ending.constraints.values())):
        raise ValueError("constraints that are no numbers")
    ending, beginning = result.ending, result.beginning
    attributes = (ending.user_attrs, ending.system_attrs, beginning.attributes)
    for text in itertools.chain.from_iterable(each.values() for each in attributes):
        json.loads(text)
    return result


# JSON has no bytes.
with_config(ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))(Result)

_RESULT: TypeAdapter[Result] = TypeAdapter(Annotated[Result, AfterValidator(_tellable)])
