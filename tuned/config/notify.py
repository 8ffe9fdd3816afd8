"""The kinds of values of a table ``[notify]``, which the experiment file and the configuration share.

An address or a command may hold a secret: no error may show one.
"""

from __future__ import annotations

from typing import Annotated, cast
from urllib.parse import urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from tuned.config.toml import describe, refuse
from tuned.domain.news.notices import EVENTS, Event

_EVENTS_EXPECTED = 'an array of "done", "failed" and "better"'

_COMMAND_EXPECTED = 'a program and its arguments, such as ["/srv/bin/tell"]'

_URL_EXPECTED = 'an address, such as "https://hooks.example.org/services/..."'

_LONGEST_URL = 2000


def _events(value: object) -> tuple[Event, ...]:
    if not isinstance(value, list | tuple):
        refuse(_EVENTS_EXPECTED)
    for each in value:
        if each not in EVENTS:
            refuse(_EVENTS_EXPECTED, f"an array with {describe(each)}")
    # In one order, because another order is no other definition.
    return tuple(each for each in EVENTS if each in value)


def _command(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        refuse(_COMMAND_EXPECTED, "a string" if isinstance(value, str) else "")
    if not value or not all(isinstance(each, str) for each in value) or not value[0]:
        refuse(_COMMAND_EXPECTED, "an array of something else" if value else "an empty array")
    return tuple(value)


def _url(value: object) -> str:
    if not isinstance(value, str):
        refuse(_URL_EXPECTED)
    if (problem := _problem_of(value)) is not None:
        refuse(_URL_EXPECTED, problem)
    return value


def _problem_of(url: str) -> str | None:
    if len(url) > _LONGEST_URL:
        return f"one of {len(url)} characters"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "one with a space or a control character"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "one that cannot be read"
    if parts.scheme not in {"http", "https"}:
        return "one that begins with neither https:// nor http://"
    return None if host else "one without a host"


def shown_url(url: str) -> str:
    """The address without all that may be secret in it: its scheme, host and port."""
    parts = urlsplit(url)
    host = cast("str", parts.hostname)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if parts.port is None else f':{parts.port}'}/…"


def shown_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """The program alone, because arguments may be secret."""
    return command if len(command) == 1 else (command[0], "…")


Events = Annotated[
    tuple[Event, ...],
    BeforeValidator(_events),
    WithJsonSchema(
        {"type": "array", "title": _EVENTS_EXPECTED, "items": {"enum": list(EVENTS)}, "uniqueItems": True}
    ),
]

Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_command),
    WithJsonSchema({"type": "array", "title": _COMMAND_EXPECTED, "items": {"type": "string"}, "minItems": 1}),
]

Url = Annotated[
    str,
    BeforeValidator(_url),
    WithJsonSchema({"type": "string", "title": _URL_EXPECTED, "pattern": "^https?://"}),
]
