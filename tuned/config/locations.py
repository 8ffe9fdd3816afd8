"""Finds the key of a TOML file that one of pydantic's error locations means, and the table that holds it.

It reads models and their annotations. It must never validate a value or word a message.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag

#: pydantic's way to say that the key itself is meant, not its value.
_KEY = "[key]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Chooses a table's model by one of its keys; ``of`` is the callable of a pydantic ``Discriminator``."""

    key: str
    #: Chosen if the key is left out; None if it must be there.
    default: str | None = None

    def of(self, raw: object) -> str | None:
        if isinstance(raw, BaseModel):
            chosen = getattr(raw, self.key, None)
        else:
            chosen = raw.get(self.key, self.default) if isinstance(raw, dict) else None
        return chosen if isinstance(chosen, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One location, resolved against the models."""

    parts: tuple[str | int, ...]
    #: The table that holds the location's last key; None if no model does.
    table: type[BaseModel] | None
    #: How the model of the value itself is chosen, if there is a choice, and its tags.
    choice: Choice | None
    tags: tuple[str, ...]


def locate(annotation: Any, location: Iterable[str | int]) -> Place:
    """The place that a location means in a value of this type."""
    parts: list[str | int] = []
    table = None
    for part in location:
        kind = _plain(annotation)
        if members := tagged(kind):
            annotation = members.get(str(part))
        elif part != _KEY:
            parts.append(part)
            table = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
            annotation = _inner(kind, part)
    return Place(
        parts=tuple(parts),
        table=table,
        choice=_choice(annotation),
        tags=tuple(tagged(_plain(annotation))),
    )


def tagged(kind: Any) -> Mapping[str, type[BaseModel]]:
    """The models of a union that is discriminated by tags; empty for any other type."""
    members = get_args(kind) if get_origin(kind) in {Union, types.UnionType} else ()
    return {
        tag.tag: get_args(member)[0]
        for member in members
        for tag in getattr(member, "__metadata__", ())
        if isinstance(tag, Tag)
    }


def _choice(annotation: Any) -> Choice | None:
    """The one of the type, which may be optional."""
    for each in getattr(annotation, "__metadata__", ()):
        chooser = getattr(each.discriminator, "__self__", None) if isinstance(each, Discriminator) else None
        if isinstance(chooser, Choice):
            return chooser
    inner = get_args(annotation)
    is_optional = get_origin(annotation) is Annotated or types.NoneType in inner
    return _choice(inner[0]) if inner and is_optional else None


def _plain(annotation: Any) -> Any:
    """The type without its metadata, and without the None that a key's absence means."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [each for each in get_args(annotation) if each is not types.NoneType]
        if len(rest) == 1:
            return _plain(rest[0])
    return annotation


def _inner(kind: Any, part: str | int) -> Any:
    """The type of what stands under one key or index."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        # pydantic keeps a field's own metadata apart from its type.
        return Annotated[field.annotation, *field.metadata, None] if field else None
    arguments = get_args(kind)
    if isinstance(part, int):
        return arguments[0] if arguments else None
    return arguments[1] if len(arguments) > 1 else None
