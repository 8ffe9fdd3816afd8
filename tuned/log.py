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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "journal", "console", "json"]

#: A write of so many bytes to a pipe that poll calls writable does not block (PIPE_BUF, pipe(7)).
_CHUNK_BYTES = 4096

#: sd-daemon(3)
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(format: Format, *, host: str | None = None, stream: TextIO | None = None) -> None:  # noqa: A002
    """Sets up all logging of this process; may be called again. ``stream`` is standard error by default."""
    stream = stream or sys.stderr
    output = _Output(stream.fileno() if stream else None)
    if format == "auto":
        format = _fitting_format(output)  # noqa: A001
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


def _processors(format: Format, output: _Output, host: str | None) -> list[Processor]:  # noqa: A002
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
        return [*shared, time, _never_raising(_console(output))]
    if format == "journal":
        return [*shared, structlog.processors.format_exc_info, _never_raising(_journal)]
    return [*shared, time, structlog.processors.format_exc_info, _never_raising(_json)]


def _never_raising(render: Processor) -> Processor:
    def rendered(logger: WrappedLogger, method: str, event: EventDict) -> str:
        try:
            return str(render(logger, method, event))
        except Exception as error:  # noqa: BLE001 (a value's own repr may raise anything)
            return json.dumps(
                {"level": method, "event": str(event.get("event")), "unprintable": type(error).__name__}
            )

    return rendered


def _console(output: _Output) -> Processor:
    is_colored = (
        output.descriptor is not None and os.isatty(output.descriptor) and "NO_COLOR" not in os.environ
    )
    # Quoted values cannot hold a terminal's control sequences; a plain traceback shows no local variables.
    return structlog.dev.ConsoleRenderer(
        colors=is_colored, repr_native_str=True, exception_formatter=structlog.dev.plain_traceback
    )


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return json.dumps(event, default=repr, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # NaN and infinity are no JSON, nor are keys that are no strings: such values are written as text.
        return json.dumps({key: value if _is_plain(value) else repr(value) for key, value in event.items()})


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int))


def _journal(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    priority = _PRIORITIES.get(str(event.pop("level", "info")), 6)
    text = str(event.pop("event", "")).replace("\n", "\\n")
    return " ".join([f"<{priority}>{text}", *(f"{key}={value!r}" for key, value in event.items())])


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
    _silence_optuna()


def _silence_optuna() -> None:
    from optuna import logging as optuna_logging  # noqa: PLC0415 (slow, and only the daemon needs it)

    optuna_logging.disable_default_handler()
    optuna_logging.set_verbosity(optuna_logging.WARNING)
    optuna_logging.enable_propagation()
