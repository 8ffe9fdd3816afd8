"""Answers for untrusted peers: without the fields that tuned/protocol/fields.py marks as TrustedOnly.

It goes by an answer's type, in all its depth: a new shape that holds a marked one needs nothing here. It
never looks at keys alone, because people name parameters as they like.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from tuned.protocol.fields import TRUSTED_ONLY

#: Returns a value of the same type, without the marked fields; never changes the one that it is given.
Redaction: TypeAlias = Callable[[Any], Any]


def unchanged(value: Any) -> Any:
    return value


@functools.cache
def redaction_of(kind: Any) -> Redaction:
    """Raises TypeError for a type that is none of JSON, because nobody knows what hides in it."""
    if is_typeddict(kind):
        return _of_table(get_type_hints(kind, include_extras=True))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Annotated, NotRequired}:
        return redaction_of(arguments[0])
    if origin is list:
        return _of_list(redaction_of(arguments[0]))
    if origin in {Union, types.UnionType}:
        return _of_union([redaction_of(each) for each in arguments])
    if origin is dict:
        return _of_mapping(redaction_of(arguments[1]))
    if origin is Literal or kind in {int, float, str, bool, types.NoneType, Any, object}:
        return unchanged
    raise TypeError(f"cannot redact {kind}: expected a type of JSON")


def _of_table(fields: dict[str, Any]) -> Redaction:
    hidden = {key for key, kind in fields.items() if _is_marked(kind)}
    redactions = {key: redaction_of(kind) for key, kind in fields.items() if key not in hidden}
    changed = {key: redact for key, redact in redactions.items() if redact is not unchanged}
    if not hidden and not changed:
        return unchanged

    def redact(table: dict[str, Any]) -> dict[str, Any]:
        return {key: changed.get(key, unchanged)(value) for key, value in table.items() if key not in hidden}

    return redact


def _is_marked(kind: Any) -> bool:
    if get_origin(kind) is NotRequired:
        return _is_marked(get_args(kind)[0])
    return get_origin(kind) is Annotated and TRUSTED_ONLY in kind.__metadata__


def _of_list(redact: Redaction) -> Redaction:
    return redact if redact is unchanged else lambda values: [redact(each) for each in values]


def _of_mapping(redact: Redaction) -> Redaction:
    if redact is unchanged:
        return redact
    return lambda table: {key: redact(value) for key, value in table.items()}


def _of_union(redactions: list[Redaction]) -> Redaction:
    """Of alternatives, one may hold something marked, beside None."""
    changed = [redact for redact in redactions if redact is not unchanged]
    if not changed:
        return unchanged
    if len(changed) > 1 or len(redactions) > 2:
        raise TypeError("cannot redact alternatives: expected one type, or None")
    [redact] = changed
    return lambda value: None if value is None else redact(value)
