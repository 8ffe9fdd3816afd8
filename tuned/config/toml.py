"""Reading TOML and checking tables at the edge: every problem at once, in words for people.

Shared by the experiment file and the configuration. Nothing here knows what a key means.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Never, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from tuned.errors import InvalidInput, Problem

M = TypeVar("M", bound=BaseModel)


#: More problems than this are counted, not listed.
MOST_PROBLEMS = 100


_LONGEST_SHOWN = 60


_LONGEST_WORDS = 400


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


#: tomllib takes quadratic time for a key of very many parts: 1 MiB of them would stop the daemon for hours.
_ENDLESS_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){200}""")


_LARGEST_INTEGER = 2**63


_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "too_short": "an array that is not empty",
    "tuned": "{expected}",
}


class Table(BaseModel):
    """A table of a TOML file: known keys only, and no conversion of one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Problems:
    """The problems that were found in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, key: str, found: str, expected: str) -> None:
        words = [printable(shorten(text, _LONGEST_WORDS)) for text in (key, found, expected)]
        self.found.append(Problem(file=self.file, key=words[0], found=words[1], expected=words[2]))

    def table(self, model: type[M], raw: object, key: str = "") -> M | None:
        """The table as its model; None, and its problems added, if it is not one."""
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._add_detail(model, raw, key, detail)
            return None

    def raise_if_any(self) -> None:
        shown = self.found[:MOST_PROBLEMS]
        if more := len(self.found) - len(shown):
            shown.append(Problem(file=self.file, key="", found=f"{more} more problems", expected="none"))
        if shown:
            raise InvalidInput(*shown)

    def _add_detail(self, model: type[BaseModel], raw: object, key: str, detail: ErrorDetails) -> None:
        # pydantic's way to say that the key itself is meant, not its value.
        place = dotted(*(part for part in detail["loc"] if part != "[key]"), prefix=key)
        context = detail.get("ctx", {})
        match detail["type"]:
            case "extra_forbidden":
                self.add(place, "an unknown key", instead_of(str(detail["loc"][-1]), _keys(model, detail)))
            case "missing":
                self.add(place, "nothing", _title(model, detail))
            case "literal_error":
                self.add(place, describe(detail["input"]), context["expected"].replace("'", '"'))
            case kind:
                expected = _EXPECTED.get(kind, detail["msg"]).format(**context)
                self.add(place, context.get("found") or describe(detail["input"]), expected)


def load_toml(content: bytes, file: str) -> dict[str, Any]:
    """The document in a file. Raises InvalidInput, with line and column where that can be said."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        refuse_file(file, f"a byte that is not UTF-8 in line {line}", "a TOML file in UTF-8")
    if _ENDLESS_KEY.search(text):
        refuse_file(file, "a key of over 200 parts", "keys that the reference names")
    try:
        # Line ends as tomllib itself makes them, but a byte order mark is named for what it is.
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if text.startswith("\ufeff"):
            refuse_file(file, "a byte order mark", "a TOML file in UTF-8 without one")
        refuse_file(file, f"a mistake in the TOML: {printable(str(error))}", "a TOML file")
    except (ValueError, RecursionError):
        refuse_file(file, "a number of over 4300 digits or very deep nesting", "a TOML file of plain values")
    _refuse_unfit_values(document, file)
    return document


def refuse_file(file: str, found: str, expected: str) -> Never:
    raise InvalidInput(Problem(file=file, key="", found=found, expected=expected)) from None


def refuse(expected: str, found: str = "") -> Never:
    """From a pydantic validator: what is expected in place of the value."""
    raise PydanticCustomError("tuned", "{expected}", {"expected": expected, "found": found})


def dotted(*parts: str | int, prefix: str = "") -> str:
    """The path of a key as a person writes it: ``space.lr.low``, ``points[0].lr``."""
    path = prefix
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = part if _BARE_KEY.fullmatch(part) else describe(part)
            path += f".{shorten(name)}" if path else shorten(name)
    return path


def describe(value: object) -> str:
    """A value as it may stand in an error: as TOML writes it, or what kind of thing it is."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return printable(json.dumps(shorten(value), ensure_ascii=False))
    if isinstance(value, int | float):
        return repr(value).lower()
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    return "a table" if isinstance(value, dict) else "a date or time"


def alternatives(words: Iterable[str], conjunction: str = "or") -> str:
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def instead_of(word: str, known: Iterable[str]) -> str:
    """The known words, and the one that was probably meant."""
    known = list(known)
    nearest = difflib.get_close_matches(word.lower()[:_LONGEST_SHOWN], known, n=1)
    return alternatives(known) + (f" (did you mean {nearest[0]}?)" if nearest else "")


def shorten(text: str, longest: int = _LONGEST_SHOWN) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(text: str) -> str:
    """The text without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _refuse_unfit_values(document: Mapping[str, Any], file: str) -> None:
    """Refuses what TOML's reader lets through but nothing behind it can hold."""
    problems = Problems(file)
    stack: list[tuple[str, object]] = [("", document)]
    while stack:
        key, value = stack.pop()
        match value:
            case dict():
                if any("\0" in name for name in value):
                    problems.add(key, "a key with a NUL character", "text without NUL characters")
                stack.extend((dotted(name, prefix=key), inner) for name, inner in value.items())
            case list():
                stack.extend((dotted(index, prefix=key), inner) for index, inner in enumerate(value))
            case str() if "\0" in value:
                problems.add(key, "a NUL character", "text without NUL characters")
            case int() if not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
                problems.add(key, "an integer of over 64 bits", "an integer of at most 64 bits")
    problems.raise_if_any()


def _model_at(model: type[BaseModel], location: Iterable[str | int]) -> type[BaseModel]:
    """The model of the table that holds the location's last key."""
    *outer, _ = location
    for part in outer:
        field = model.model_fields.get(str(part))
        # The annotation itself, or one side of ``MetricTable | None``.
        for inner in (field.annotation, *get_args(field.annotation)) if field else ():
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return model


def _keys(model: type[BaseModel], detail: ErrorDetails) -> list[str]:
    fields = _model_at(model, detail["loc"]).model_fields
    return [field.alias or name for name, field in fields.items()]


def _title(model: type[BaseModel], detail: ErrorDetails) -> str:
    field = _model_at(model, detail["loc"]).model_fields[str(detail["loc"][-1])]
    return field.title or "a value"
