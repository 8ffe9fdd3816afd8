"""The forms in which an answer goes over the wire: JSON, lines of JSON, text, bytes or an error.

It knows how a value is written, and never whether the peer may see it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from tuned.errors import InvalidInput, Problem, TunedError
from tuned.protocol.errors import ErrorBody, ErrorView, ProblemView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from tuned.protocol.events import Event


#: After these errors the rest of the connection may belong to the same mistake.
_UNREADABLE = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}


@dataclass(frozen=True, slots=True)
class Text:
    """A whole text that anyone may read."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class EventLines:
    """Events, one JSON object a line, as they come."""

    events: AsyncGenerator[Event, None]


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that a trial printed, as they come. Only for a route of the trusted."""

    chunks: AsyncGenerator[bytes, None]


def json_response(
    view: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(body=json_line(view), status=status, headers=headers, content_type="application/json")


def json_line(view: object) -> bytes:
    try:
        text = json.dumps(view, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(view), allow_nan=False)
    return text.encode() + b"\n"


def error_response(error: TunedError, *, headers: Mapping[str, str] | None = None) -> web.Response:
    response = json_response(error_view(error), status=error.status, headers=headers)
    if error.status in _UNREADABLE:
        response.force_close()
    return response


def error_view(error: TunedError) -> ErrorView:
    body = ErrorBody(code=error.code, message=str(error))
    if isinstance(error, InvalidInput):
        body["problems"] = [
            ProblemView(file=p.file, key=p.key, found=p.found, expected=p.expected) for p in error.problems
        ]
    return ErrorView(error=body)


def internal_error() -> TunedError:
    """The peer of a request that met a bug learns no more than this."""
    return TunedError("cannot answer: an error in the daemon, see its log")


def malformed(found: str) -> InvalidInput:
    return InvalidInput(Problem(file="request", key="", found=found, expected="an HTTP/1.1 request"))


def _finite(value: object) -> object:
    """JSON has no infinity: such a number goes as the string that float() and Number() understand."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
