"""The shape of an error."""

from typing import NotRequired, TypedDict


class ProblemView(TypedDict):
    """errors.Problem."""

    file: str
    key: str
    found: str
    expected: str


class ErrorBody(TypedDict):
    #: A word that does not change with versions; see docs/reference/protocol.md.
    code: str
    #: For people: what could not be done, and what would have to be different.
    message: str
    #: With code "invalid": each thing that is wrong.
    problems: NotRequired[list[ProblemView]]


class ErrorView(TypedDict):
    error: ErrorBody
