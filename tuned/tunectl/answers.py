"""Answers of the daemon, held to their shapes: one of another shape is refused before anybody reads it.

It goes by the types of tuned.protocol alone, and knows no single answer. Keys that a shape does not have are
passed over, because a newer daemon may send some.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import types
from collections.abc import Callable
from datetime import datetime
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from tuned.protocol.fields import INFINITIES, MAY_BE_INFINITE, OPEN, PATH, TIME

T = TypeVar("T")

#: Of a type in brackets.
Arguments: TypeAlias = tuple[Any, ...]

#: Raises Misshapen if the value at a place is none of the type.
Check: TypeAlias = Callable[[str, object], None]

#: Counters are signed 64-bit numbers at most.
_MOST = 2**63

#: No answer is nested so deep, and Python's recursion reaches deeper.
_MOST_LEVELS = 50

_MOST_LETTERS = 40


class Misshapen(ValueError):
    """An answer is not what it must be; the text says where, what was found and what is expected."""


def parsed(kind: type[T], text: bytes) -> T:
    """The value that a JSON text says. Raises Misshapen."""
    try:
        value: object = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        # Numbers of thousands of digits are a ValueError too.
        raise Misshapen(f"found {_shown(text)}, expected JSON") from None
    if not _is_flat(value, _MOST_LEVELS):
        raise Misshapen(f"found over {_MOST_LEVELS} levels")
    check: Check = _check_of(cast("Any", kind))
    check("", value)
    return cast("T", value)


def _is_flat(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_flat(each, levels - 1) for each in inner)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


@functools.cache
def _check_of(kind: Any) -> Check:
    if is_typeddict(kind):
        return _table(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marked = [_MARKED[each] for each in arguments[1:] if each in _MARKED]
        return marked[0] if marked else _check_of(arguments[0])
    return _BUILT[origin](arguments) if origin in _BUILT else _PLAIN[kind]


def _table(kind: Any) -> Check:
    hints = get_type_hints(kind, include_extras=True)
    # Python does not see NotRequired in an annotation that is a string.
    required = {key for key in kind.__required_keys__ if get_origin(hints[key]) is not NotRequired}
    checks = {key: _check_of(hint) for key, hint in hints.items()}

    def check(place: str, value: object) -> None:
        if not isinstance(value, dict):
            raise _wrong(place, value, "an object")
        for key, check_field in checks.items():
            inner = f"{place}.{key}" if place else key
            if key in value:
                check_field(inner, value[key])
            elif key in required:
                raise Misshapen(f"{inner}: found nothing")

    return check


def _list(arguments: Arguments) -> Check:
    check_each = _check_of(arguments[0])

    def check(place: str, value: object) -> None:
        if not isinstance(value, list):
            raise _wrong(place, value, "an array")
        for index, each in enumerate(value):
            check_each(f"{place}.{index}", each)

    return check


def _mapping(arguments: Arguments) -> Check:
    check_each = _check_of(arguments[1])

    def check(place: str, value: object) -> None:
        if not isinstance(value, dict):
            raise _wrong(place, value, "an object")
        for each in value.values():
            check_each(f"{place}.*", each)

    return check


def _union(kinds: Arguments) -> Check:
    checks = [_check_of(each) for each in kinds if each is not types.NoneType]
    is_optional = types.NoneType in kinds

    def check(place: str, value: object) -> None:
        if value is None and is_optional:
            return
        for check_one in checks[:-1]:
            with contextlib.suppress(Misshapen):
                check_one(place, value)
                return
        checks[-1](place, value)

    return check


def _one_of(words: Arguments) -> Check:
    def check(place: str, value: object) -> None:
        if value not in words:
            raise _wrong(place, value, f"one of: {', '.join(words)}")

    return check


def _integer(place: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _MOST:
        raise _wrong(place, value, "an integer of 64 bits")


def _number(place: str, value: object) -> None:
    # Of NaN, no comparison is true.
    is_number = isinstance(value, int | float) and -sys.float_info.max <= value <= sys.float_info.max
    if not is_number or isinstance(value, bool):
        raise _wrong(place, value, "a finite number")


def _measure(place: str, value: object) -> None:
    if value not in INFINITIES:
        _number(place, value)


def _text(place: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(place, value, "a string")


def _truth(place: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong(place, value, "true or false")


def _time(place: str, value: object) -> None:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        # Pages show it in the reader's zone, and a moment can be too far away for that.
        moment.astimezone()
        is_whole = moment.tzinfo is not None
    except (ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise _wrong(place, value, "a time with its zone")


def _path(place: str, value: object) -> None:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise _wrong(place, value, "an absolute path")


def _anything(_place: str, _value: object) -> None:
    pass


_MARKED: dict[str, Check] = {MAY_BE_INFINITE: _measure, TIME: _time, OPEN: _text, PATH: _path}

_BUILT: dict[Any, Callable[[Arguments], Check]] = {
    NotRequired: lambda arguments: _check_of(arguments[0]),
    list: _list,
    dict: _mapping,
    Union: _union,
    types.UnionType: _union,
    Literal: _one_of,
}

_PLAIN: dict[Any, Check] = {int: _integer, float: _number, str: _text, bool: _truth, Any: _anything}


def _wrong(place: str, value: object, expected: str) -> Misshapen:
    where = f"{place}: " if place else ""
    if isinstance(value, dict | list):
        return Misshapen(
            f"{where}found an {'object' if isinstance(value, dict) else 'array'}, expected {expected}"
        )
    return Misshapen(f"{where}found {_shown(json.dumps(value).encode())}, expected {expected}")


def _shown(text: bytes) -> str:
    head = text[:_MOST_LETTERS].decode("ascii", "backslashreplace").strip()
    return f"{head}..." if len(text) > _MOST_LETTERS else head or "nothing"
