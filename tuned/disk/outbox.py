"""The outbox: results on this host's disk until the database has them.

It owns one directory of the state directory. A record is durable when ``put`` returns, and only ``discard``
forgets it. It must never change or drop a record, or stop at one that it cannot read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from pydantic import AfterValidator, TypeAdapter

from tuned.disk import files
from tuned.domain.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()

#: Far more than a result with all its intermediate values.
MOST_BYTES = 256 * 2**20

#: The database's integers are no larger.
_LARGEST_INTEGER = 2**63

_RECORD = re.compile(r"[0-9]{12}\.json")

_NUMBERED = re.compile(r"[0-9]{12}")


class Outbox:
    """Records in the order of their names, across restarts. Any thread may put."""

    def __init__(self, directory: Path) -> None:
        """The caller holds the state directory's lock: nobody else writes here."""
        self._directory = directory
        files.make_directory(directory, 0o700)
        files.remove_temporaries(directory)
        # Records that were set aside count too, so that no later one takes their number.
        numbers = [int(match[0]) for path in directory.iterdir() if (match := _NUMBERED.match(path.name))]
        self._numbers = itertools.count(max(numbers, default=0) + 1)

    def new_name(self) -> str:
        """For the next record."""
        return f"{next(self._numbers):012d}.json"

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes it durably. Raises OSError when it cannot, such as on a full disk."""
        # Two fsyncs: one makes the content durable, one the name.
        files.write(self._directory / name, json.dumps(dict(record)).encode(), mode=0o600)

    def pending(self) -> list[tuple[str, dict[str, Any]]]:
        """The records that were put and not yet discarded, oldest first; any other file is set aside."""
        records = []
        for path in sorted(self._directory.iterdir()):
            if path.name.startswith(".") or path.name.endswith(".corrupt"):
                continue
            try:
                record = _read(path)
            except FileNotFoundError:
                continue  # Discarded by another thread since the directory was read.
            except OSError as error:
                # The disk may give it back later: it stays in its place.
                _log.error("result cannot be read", file=str(path), error=str(error))
                continue
            except (files.Unfit, ValueError, RecursionError) as error:
                self._set_aside(path, str(error))
                continue
            records.append((path.name, record))
        return records

    def discard(self, name: str) -> None:
        """Forgets a record that the database has; not an error if it is gone already.

        Not made durable: a record that a power cut brings back is told again, which changes nothing.
        """
        (self._directory / name).unlink(missing_ok=True)

    def _set_aside(self, path: Path, reason: str) -> None:
        aside = path.with_name(f"{path.name}.corrupt")
        _log.error("result set aside", file=str(aside), reason=reason)
        with contextlib.suppress(OSError):
            path.replace(aside)


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
    # As JSON, in which lists are tuples and words are enums, but nothing else is converted.
    return _RESULT.validate_json(text, strict=True)


def _in_64_bits(result: Result) -> Result:
    for number in (result.study_id, result.trial_id, result.number, *result.ending.intermediate):
        if not -_LARGEST_INTEGER <= number < _LARGEST_INTEGER:
            raise ValueError("a number of over 64 bits")
    return result


_RESULT: TypeAdapter[Result] = TypeAdapter(Annotated[Result, AfterValidator(_in_64_bits)])
