"""Errors that a person is told about.

Every error here carries the code and the HTTP status with which it goes over the control socket.
Messages begin with what could not be done and say what would have to be different.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


def printable(text: str) -> str:
    """The text without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a file: where, what was found, what is expected there."""

    file: str
    #: Dotted path in the file, such as ``space.lr.low``; empty when the file as a whole is meant.
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}" if self.key else self.file
        return f"{place}: found {self.found}, expected {self.expected}"


class TunedError(Exception):
    """Base of all errors that are told to a person."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


class InvalidInput(TunedError):
    """A file, a setting or a request does not say what it must; holds all problems, not the first."""

    code = "invalid"
    status = 400

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class NotFound(TunedError):
    """The named experiment, trial or path does not exist."""

    code = "not-found"
    status = 404


class Forbidden(TunedError):
    """The peer may read, but not change anything."""

    code = "forbidden"
    status = 403


class Conflict(TunedError):
    """The request conflicts with existing state: a second daemon, another definition of a study."""

    code = "conflict"
    status = 409


class DatabaseAway(TunedError):
    """The database cannot be reached or does not answer now; the same call may work later."""

    code = "database-away"
    status = 503

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        #: A person can do this; empty if the database is only slow to come.
        self.remedy = remedy


class Unstartable(TunedError):
    """This host lacks something without which the daemon cannot run."""


class Unreachable(TunedError):
    """The daemon's control socket cannot be reached."""

    code = "unreachable"
    status = 503
