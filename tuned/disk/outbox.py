"""The outbox: results on this host's disk until the database has them.

It owns one directory of the state directory. A record is durable when ``put`` returns, and only ``discard``
forgets it. It must never change or drop a record, or stop at one that it cannot read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import structlog

from tuned.disk import files
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger()


#: Far more than a result with all its intermediate values.
MOST_BYTES = 256 * 2**20


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
        """What was put and not yet discarded, oldest first; what is no record is set aside."""
        records = []
        for path in sorted(self._directory.iterdir()):
            if path.name.startswith(".") or path.name.endswith(".corrupt"):
                continue
            try:
                record = _read(path)
            except FileNotFoundError:
                continue  # Discarded by another thread since the directory was read.
            except OSError as error:
                # The disk may give it back later: it stays where it is.
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
    ending = result.ending
    return {
        "study_id": result.study_id,
        "study_uid": result.study_uid,
        "trial_id": result.trial_id,
        "number": result.number,
        "key": result.key,
        "host": result.host,
        "values": ending.values,
        "failure": None if ending.failure is None else _encode_failure(ending.failure),
        # Pairs, because JSON's keys are strings.
        "intermediate": list(ending.intermediate.items()),
        "user_attrs": ending.user_attrs,
        "retried": [_encode_failure(failure) for failure in ending.retried],
    }


def _encode_failure(failure: Failure) -> dict[str, Any]:
    return {"cause": failure.cause.value, "message": failure.message, "detail": failure.detail}


def decode(record: dict[str, Any]) -> Result:
    values, failure = record["values"], record["failure"]
    return Result(
        study_id=int(record["study_id"]),
        study_uid=str(record["study_uid"]),
        trial_id=int(record["trial_id"]),
        number=int(record["number"]),
        key=str(record["key"]),
        host=str(record["host"]),
        ending=Ending(
            values=None if values is None else tuple(float(value) for value in values),
            failure=None if failure is None else _decode_failure(failure),
            intermediate={int(step): float(value) for step, value in record["intermediate"]},
            user_attrs={str(name): str(value) for name, value in record["user_attrs"].items()},
            retried=tuple(_decode_failure(earlier) for earlier in record["retried"]),
        ),
    )


def _decode_failure(record: dict[str, Any]) -> Failure:
    return Failure(
        cause=Cause(record["cause"]), message=str(record["message"]), detail=dict(record["detail"])
    )
