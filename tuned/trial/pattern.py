"""A pattern that finds values in lines of output: its matches, and numbers that it would cut.

RE2 matches it in linear time, so that none can hang the daemon. It must never give a part of a number for the
number, or an earlier value where the last one is no finite number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import re2

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE)

#: Numbers as programs print them: also with separators of thousands, and with Fortran's exponents.
_PRINTED = re.compile(
    r"(?:(?<![\w.)\]+-])[+-])?"
    r"(?:(?:\d{1,3}(?:[,_]\d{3})+(?![\d,_])(?:\.\d*)?|\d+(?:\.\d*)?|(?<![\d.])\.\d+)(?:[eE][+-]?\d+|[dD][+-]\d+)?"
    r"|infinity)",
    re.IGNORECASE,
)

#: Beside anything else no number goes on.
_PARTS = frozenset("0123456789.,_+-eEdDiI")

#: A number that is longer than that to one side of a match is not seen whole.
_NEAR = 32

_NOT_FINITE = re.compile(r"(?<![\w.])[+-]?(?:nan|inf|infinity)(?![\w.])", re.IGNORECASE)

_GROUP = re.compile(r"\(\?P?<value>")

#: Reads every float, and ends at whatever may stand behind one.
FLOAT = r"[-+.\w]+"

#: A match that fails for this is mended by ``reading_floats``.
CUT = "only a part of the number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One match of the pattern; ``problem`` says why it is no value."""

    value: float | None
    step: str | None
    problem: str = ""


class Pattern:
    """A regular expression with the group ``value``, and maybe the group ``step``, on one trial's output."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._regexp: Any = re2.compile(pattern)
        self._value: int = self._regexp.groupindex["value"]
        self._step: int | None = self._regexp.groupindex.get("step")
        #: The number that was found last, as it was written.
        self._written = ""

    @property
    def has_steps(self) -> bool:
        """Whether it has the group ``step``."""
        return self._step is not None

    def matches(self, line: str) -> Iterator[Match]:
        """In their order; the last one may be a NaN or an infinity that the pattern itself does not read."""
        end = 0
        for found in self._regexp.finditer(line):
            end = found.end(self._value)
            yield self._match(found, line)
        if self._written and _NOT_FINITE.search(line, max(end, 0)):
            yield from self._not_finite(line, max(end, 0))

    def _match(self, found: Any, line: str) -> Match:
        begin, end = found.span(self._value)
        text = line[begin:end].strip() if begin >= 0 else ""
        step = self._step_of(found)
        if not NUMBER.fullmatch(text):
            value = line[begin:end] if begin >= 0 else ""
            return Match(value=None, step=step, problem=f"the pattern found {value!r}, expected a number")
        begin = line.index(text, begin)
        whole = _whole(line, begin, begin + len(text))
        if whole != text:
            problem = f"the pattern {self._pattern!r} found {text}, which is {CUT} {whole}"
            return Match(value=None, step=step, problem=problem)
        self._written = text
        return Match(value=float(text), step=step)

    def _not_finite(self, line: str, behind: int) -> Iterator[Match]:
        """The words in whose places the pattern finds a number of its usual form."""
        words, other = {}, line[:behind]
        for word in _NOT_FINITE.finditer(line, behind):
            other += line[behind : word.start()]
            words[len(other)] = word[0]
            other += self._written
            behind = word.end()
        for found in self._regexp.finditer(other + line[behind:]):
            begin, end = found.span(self._value)
            if begin in words and end - begin == len(self._written):
                yield Match(value=float(words[begin]), step=self._step_of(found))

    def _step_of(self, found: Any) -> str | None:
        step: str | None = None if self._step is None else found[self._step]
        return None if step is None else step.strip()


def _whole(line: str, begin: int, end: int) -> str:
    """The number of which this is a part, or all."""
    if line[begin - 1 : begin] in _PARTS or line[end : end + 1] in _PARTS:
        first = max(0, begin - _NEAR)
        for number in _PRINTED.finditer(line[first : end + _NEAR]):
            if first + number.start() <= begin and end <= first + number.end():
                return number[0]
    return line[begin:end]


def reading_floats(pattern: str) -> str:
    """The pattern with a group ``value`` that reads every float."""
    group = _GROUP.search(pattern)
    assert group is not None
    return pattern[: group.end()] + FLOAT + pattern[_closing(pattern, group.end()) :]


def _closing(pattern: str, place: int) -> int:
    """The place of the parenthesis that closes the group whose inside begins here."""
    depth, is_in_class = 1, False
    while depth:
        if pattern[place] == "\\":
            place += 1
        elif is_in_class:
            is_in_class = pattern[place] != "]"
        elif pattern[place] == "[":
            is_in_class = True
            # A bracket that comes first is a character of the class.
            place += len(re.match(r"\^?\]?", pattern[place + 1 :])[0])  # type: ignore[index]
        else:
            depth += {"(": 1, ")": -1}.get(pattern[place], 0)
        place += 1
    return place - 1
