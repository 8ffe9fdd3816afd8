"""Log records: structlog, and the standard library's loggers of other packages, to one place.

Logging must never end or hold up the daemon: a record that cannot be written at once is dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

from tuned.systemd import journald

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger


Format = Literal["auto", "journal", "console", "json"]

#: A write of so many bytes to a pipe that poll calls writable does not block (PIPE_BUF, pipe(7)).
_CHUNK_BYTES = 4096

#: journald takes some 300 entries a second of one service over half a minute; this leaves room for ours.
_OUTPUT_PER_SECOND, _OUTPUT_AT_ONCE = 100, 1000

#: A longer line counts for several.
_OUTPUT_LINE_BYTES = 1024

#: The fields that tell a record's place, in the order in which people look for it.
_PLACE = ("experiment", "trial", "slot", "attempt")


def configure(format: Format, *, host: str | None = None, stream: TextIO | None = None) -> None:  # noqa: A002
    """Sets up all logging of this process; may be called again. ``stream`` is standard error by default."""
    global _journal  # noqa: PLW0603 (as structlog's own configuration, it is the process's)
    stream = stream or sys.stderr
    text = _Output(stream.fileno() if stream else None)
    output: _Output | _JournalOutput = text
    if format == "auto":
        format = _fitting_format(text)  # noqa: A001
    if _journal is not None:
        _journal.close()
    _journal = None
    if format == "journal":
        output = _journal = _JournalOutput(host)
    structlog.configure(
        processors=_processors(format, output, host),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    _route_libraries()


@contextlib.contextmanager
def trial_fields(*, experiment: str, trial: int, slot: int, attempt: int) -> Iterator[None]:
    """Puts these fields on every record of the current task (and the threads it starts) within the block."""
    with structlog.contextvars.bound_contextvars(
        experiment=experiment, trial=trial, slot=slot, attempt=attempt
    ):
        yield


def trial_output(line: bytes) -> None:
    """Makes a line of a trial an entry of its own in the journal, within bounds; elsewhere nothing."""
    if _journal is not None:
        _journal.trial_output(line)


def trial_output_ended() -> None:
    """Says how much output was left out of the journal, if no further line has said so."""
    if _journal is not None:
        _journal.tell_left_out()


class _Output:
    """The end of the line: writes to a descriptor without ever waiting or raising."""

    def __init__(self, descriptor: int | None) -> None:
        #: None: this process was started without a standard error.
        self.descriptor = descriptor
        #: Records lost since the last one that was written.
        self.dropped = 0
        self._is_inside_line = False
        self._turn = threading.Lock()

    def msg(self, line: str) -> None:
        with self._turn:
            data = b"\n" if self._is_inside_line else b""
            if self._write(data + line.encode("utf-8", "backslashreplace") + b"\n"):
                self.dropped = 0
            else:
                self.dropped += 1

    debug = info = warning = error = critical = msg

    def _write(self, data: bytes) -> bool:
        if self.descriptor is None:
            return False
        with contextlib.suppress(OSError):
            while data and _is_writable(self.descriptor):
                written = os.write(self.descriptor, data[:_CHUNK_BYTES])
                self._is_inside_line = data[:written][-1:] != b"\n"
                data = data[written:]
        return not data


class _JournalOutput:
    """The journal's end: takes encoded entries."""

    #: There is none that a person looks at.
    descriptor = None

    def __init__(self, host: str | None) -> None:
        self.dropped = 0
        self._host = {} if host is None else {"TUNED_HOST": host}
        self._journal = journald.Journal()
        #: Lines of trials that the journal has not, since that was said last.
        self._left_out = 0
        self._bucket = journald.Bucket(_OUTPUT_PER_SECOND, _OUTPUT_AT_ONCE)

    def close(self) -> None:
        self._journal.close()

    def msg(self, entry: bytes | str) -> None:
        whole = entry if isinstance(entry, bytes) else journald.encode({"MESSAGE": entry, **_ALWAYS})
        self.dropped = 0 if self._journal.send(whole) else self.dropped + 1

    debug = info = warning = error = critical = msg

    def trial_output(self, line: bytes) -> None:
        if not self._bucket.take(1 + len(line) / _OUTPUT_LINE_BYTES):
            self._left_out += 1
            return
        self.tell_left_out()
        fields = _prefixed(structlog.contextvars.get_contextvars()) | self._host
        text = _placed(line.decode("utf-8", "replace"), structlog.contextvars.get_contextvars())
        kind = {"MESSAGE_ID": journald.MESSAGE_IDS["trial output"], "PRIORITY": 6}
        if not self._journal.send(journald.encode({"MESSAGE": text, **kind, **_ALWAYS, **fields})):
            self._left_out += 1

    def tell_left_out(self) -> None:
        if not self._left_out:
            return
        told, self._left_out = self._left_out, 0
        structlog.get_logger().warning("output of trials left out", lines=told)
        if self.dropped:
            # journald did not take that either: it is said with the next one.
            self._left_out = told


#: The identifier is what journald otherwise takes from the name of the program.
_ALWAYS = {"SYSLOG_IDENTIFIER": "tuned"}

_journal: _JournalOutput | None = None


def _is_writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _fitting_format(output: _Output) -> Format:
    if output.descriptor is None:
        return "json"
    if _is_journal(output.descriptor):
        return "journal"
    return "console" if os.isatty(output.descriptor) else "json"


def _is_journal(descriptor: int) -> bool:
    """Whether systemd connected it to the journal; JOURNAL_STREAM may be inherited (systemd.exec(5))."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _processors(format: Format, output: _Output | _JournalOutput, host: str | None) -> list[Processor]:  # noqa: A002
    def add_common(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if host is not None:
            event.setdefault("host", host)
        if output.dropped:
            event["dropped"] = output.dropped
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        add_common,
    ]
    time = structlog.processors.TimeStamper(fmt="iso", utc=True)
    if format == "console":
        local = structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
        return [*shared, local, _ordered_for_people, _never_raising(_console(output.descriptor))]
    if format == "journal":
        return [*shared, structlog.processors.format_exc_info, _never_raising(_entry)]
    return [*shared, time, structlog.processors.format_exc_info, _never_raising(_json)]


def _never_raising(render: Processor) -> Processor:
    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str | bytes:
        try:
            line = render(logger, method, event)
            return line if isinstance(line, bytes) else str(line)
        except Exception as error:  # noqa: BLE001 (a value's own repr may raise anything)
            return json.dumps(
                {"level": method, "event": str(event.get("event")), "unprintable": type(error).__name__}
            )

    return rendered


def _ordered_for_people(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Where it belongs first; not the host, for a terminal shows one."""
    event.pop("host", None)
    first = {key: event[key] for key in _PLACE if key in event}
    return {**first, **event}


def _console(descriptor: int | None) -> Processor:
    is_colored = descriptor is not None and os.isatty(descriptor) and "NO_COLOR" not in os.environ
    # Quoted values cannot hold a terminal's control sequences; a plain traceback shows no local variables.
    return structlog.dev.ConsoleRenderer(
        colors=is_colored,
        repr_native_str=True,
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return json.dumps(event, default=repr, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # NaN and infinity are no JSON, nor are keys that are no strings: such values are written as text.
        return json.dumps({key: value if _is_plain(value) else repr(value) for key, value in event.items()})


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int))


def _entry(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    """An entry of the journal: the message is for people, the fields are for searching."""
    level, text = str(event.pop("level", "info")), str(event.pop("event", ""))
    traceback = event.pop("exception", None)
    message = _placed(text, event) + "".join(f" {key}={event[key]!r}" for key in _order(event))
    kind = {"MESSAGE_ID": journald.MESSAGE_IDS[text]} if text in journald.MESSAGE_IDS else {}
    return journald.encode(
        {
            "MESSAGE": message if traceback is None else f"{message}\n{traceback}",
            "PRIORITY": journald.PRIORITIES.get(level, 6),
            **kind,
            **_ALWAYS,
            **_prefixed(event),
        }
    )


def _placed(text: str, fields: Mapping[str, object]) -> str:
    """The text behind its experiment and trial: ``minima/17: epoch 3``."""
    place = [str(fields[name]) for name in ("experiment", "trial") if name in fields]
    return f"{'/'.join(place)}: {text}" if place else text


def _order(event: Mapping[str, object]) -> list[str]:
    """The other keys of a record: those of its place, then the record's own as they were given."""
    first = [key for key in ("slot", "attempt") if key in event]
    return [*first, *(key for key in event if key not in {*first, "experiment", "trial", "host"})]


def _prefixed(fields: Mapping[str, object]) -> dict[str, object]:
    return {f"TUNED_{name}": value for name, value in fields.items()}


class _Route(logging.Handler):
    """Hands the records of libraries to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level, text = _standard_level(record.levelno), record.getMessage()
            structlog.get_logger().log(level, text, logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 (what Handler.emit must do with any exception)
            self.handleError(record)


def _standard_level(level: int) -> int:
    """Libraries may have levels of their own; structlog knows the five standard ones."""
    return min(level // 10 * 10, logging.CRITICAL)


def _route_libraries() -> None:
    root = logging.getLogger()
    root.handlers = [_Route(logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def route_optuna() -> None:
    """Makes Optuna's records come through us only. For a process that uses Optuna anyway."""
    from optuna import logging as optuna_logging  # noqa: PLC0415 (slow, and the keeper has none)

    optuna_logging.disable_default_handler()
    optuna_logging.set_verbosity(optuna_logging.WARNING)
    optuna_logging.enable_propagation()
