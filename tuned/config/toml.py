"""Reads TOML and checks tables at the edge: every problem at once, in words for people.

The experiment file and the configuration share it. It must never know what a key means.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Never, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from tuned.config.locations import Place, locate
from tuned.domain.counts import counted
from tuned.errors import InvalidInput, Problem, printable

M = TypeVar("M", bound=BaseModel)

#: More problems than this are counted, not listed.
MOST_PROBLEMS = 100

_LONGEST_SHOWN = 60

_LONGEST_WORDS = 400

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

#: tomllib takes quadratic time for a key of very many parts: 1 MiB of them would stop the daemon for hours.
_ENDLESS_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){200}""")

_LARGEST_INTEGER = 2**63

#: Values as other languages write them, and what to write in a TOML file.
_FOREIGN_WORDS = {
    **dict.fromkeys(
        ("null", "Null", "NULL", "None", "nil"),
        'a TOML value: TOML has no null, so leave the key out, or use a string such as "none"',
    ),
    **dict.fromkeys(("True", "TRUE"), "true"),
    **dict.fromkeys(("False", "FALSE"), "false"),
    **dict.fromkeys(("NaN", "NAN", "Infinity", "Inf"), "a finite number"),
}

_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")

_WORD = re.compile(r"[-+]?(\w+)")

_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "tuned": "{expected}",
}


class Table(BaseModel):
    """A table of a TOML file: known keys only, and no conversion of one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def said_of_unknown(cls, key: str) -> str:  # noqa: ARG003 (samplers need it)
        """The words for a key that the table does not have."""
        return "an unknown key"

    @classmethod
    def expected_at(cls, key: str) -> str | None:  # noqa: ARG003 (samplers need it)
        """The words for all that a key takes; None to tell only the rule that a value breaks."""
        return None


class Problems:
    """The problems that were found in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, key: str, found: str, expected: str) -> None:
        words = [printable(shorten(text, _LONGEST_WORDS)) for text in (key, found, expected)]
        self.found.append(Problem(file=self.file, key=words[0], found=words[1], expected=words[2]))

    def table(self, model: type[M], raw: object, key: str = "", context: object = None) -> M | None:
        """The table as its model; None, and its problems added, if it is not one."""
        try:
            return model.model_validate(raw, context=context)
        except ValidationError as error:
            self._add_all(error, model, key)
            return None

    def value(self, annotation: Any, raw: object, key: str) -> Any:
        """The value as its type; None, and its problems added, if it is not one."""
        try:
            return TypeAdapter(annotation).validate_python(raw, strict=True)
        except ValidationError as error:
            self._add_all(error, annotation, key)
            return None

    def raise_if_any(self) -> None:
        shown = self.found[:MOST_PROBLEMS]
        if more := len(self.found) - len(shown):
            shown.append(
                Problem(file=self.file, key="", found=counted(more, "more problem"), expected="none")
            )
        if shown:
            raise InvalidInput(*shown)

    def _add_all(self, error: ValidationError, annotation: Any, key: str) -> None:
        for detail in error.errors(include_url=False):
            place = locate(annotation, detail["loc"])
            self._add_detail(place, dotted(*place.parts, prefix=key), detail)

    def _add_detail(self, place: Place, key: str, detail: ErrorDetails) -> None:
        table = place.table if place.table and issubclass(place.table, Table) else Table
        context, last = detail.get("ctx", {}), str(place.parts[-1]) if place.parts else ""
        match detail["type"]:
            case "extra_forbidden":
                self.add(key, table.said_of_unknown(last), instead_of(last, table.model_fields))
            case "missing":
                self.add(key, "nothing", table.model_fields[last].title or "a value")
            case "union_tag_not_found" | "union_tag_invalid":
                self._add_choice(place, key, detail["input"])
            case kind if kind != "tuned" and (words := table.expected_at(last)):
                self.add(key, describe(detail["input"]), words)
            case "literal_error":
                self.add(key, describe(detail["input"]), context["expected"].replace("'", '"'))
            case kind:
                expected = _EXPECTED.get(kind, detail["msg"]).format(**context)
                self.add(key, context.get("found") or describe(detail["input"]), expected)

    def _add_choice(self, place: Place, key: str, raw: object) -> None:
        choice = place.choice
        assert choice is not None
        if not isinstance(raw, dict):
            self.add(key, describe(raw), "a table" if choice.default else f"a table with a {choice.key}")
            return
        chosen = raw.get(choice.key)
        inner = next((name for name, value in raw.items() if isinstance(value, dict)), None)
        if chosen is None and inner is not None:
            beside = dotted(inner, prefix=key.rpartition(".")[0])
            self.add(dotted(inner, prefix=key), "a table", f"{choice.key} in {key}, or [{beside}] beside it")
            return
        if choice.default is None:
            expected = alternatives(f'"{tag}"' for tag in place.tags)
        else:
            expected = instead_of(chosen, place.tags) if isinstance(chosen, str) else "a string"
        self.add(f"{key}.{choice.key}", describe(chosen), expected)


def load_toml(content: bytes, file: str) -> dict[str, Any]:
    """The document in a file. Raises InvalidInput, with line and column if there are such."""
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
        _refuse_foreign_word(text, str(error), file)
        refuse_file(file, f"a mistake in the TOML: {printable(str(error))}", "a TOML file")
    except (ValueError, RecursionError):
        refuse_file(file, "a number of over 4300 digits or very deep nesting", "a TOML file of plain values")
    _refuse_unfit_values(document, file)
    return document


def _refuse_foreign_word(text: str, mistake: str, file: str) -> None:
    if place := _PLACE.search(mistake):
        # tomllib takes \\r\\n for \\n, and stops where the value begins.
        line = text.split("\n")[int(place[1]) - 1]
        word = _WORD.match(line, int(place[2]) - 1)
        if word is not None and (expected := _FOREIGN_WORDS.get(word[1])):
            refuse_file(file, f"{word[1]} in line {place[1]}, column {place[2]}", expected)


def refuse_file(file: str, found: str, expected: str) -> Never:
    raise InvalidInput(Problem(file=file, key="", found=found, expected=expected)) from None


def refuse(expected: str, found: str = "") -> Never:
    """From a pydantic validator: what is expected in place of the value."""
    raise PydanticCustomError("tuned", "{expected}", {"expected": expected, "found": found})


def refuse_keys(table: BaseModel, expected: Mapping[str, str]) -> Never:
    """From a pydantic validator of a whole table: what is expected in place of the values of some keys."""
    raise ValidationError.from_exception_data(
        type(table).__name__,
        [
            InitErrorDetails(
                type=PydanticCustomError("tuned", "{expected}", {"expected": words, "found": ""}),
                loc=(key,),
                input=getattr(table, key),
            )
            for key, words in expected.items()
        ],
    )


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
