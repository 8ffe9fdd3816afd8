"""The reference of the experiment file and the settings, generated from the models: ``make reference``.

It owns the text between the markers of the reference pages and manual pages. It must never say a fact of its
own: types, defaults, bounds and descriptions come from the models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from tuned.config.described import describe_value
from tuned.config.schema import TomlSchema, words
from tuned.config.settings import Settings, setting_keys, setting_types
from tuned.experiment import parameters
from tuned.experiment.budget import Budget
from tuned.experiment.file import Dedup, File, Objective, Retry
from tuned.experiment.keywords import Keywords
from tuned.experiment.pruners import PRUNERS, Pruner
from tuned.experiment.replicates import Replicates
from tuned.experiment.resources import Resources
from tuned.experiment.samplers import SAMPLERS, Sampler
from tuned.experiment.scope import Scope
from tuned.experiment.tables.code import Code
from tuned.experiment.tables.fleet import Participation
from tuned.experiment.tables.notify import Notify

#: Each page, and how it marks a generated block.
PAGES = (
    "docs/reference/experiment-file.md",
    "docs/reference/settings.md",
    "packaging/man/tuned-experiment.5",
    "packaging/man/tuned.toml.5",
)

_BLOCK = re.compile(
    r"""(?P<begin>^(?:<!--|\.\\")\ generated:\ (?P<name>[a-z]+)(?:\ -->)?\n)
        .*?
        (?P<end>^(?:<!--|\.\\")\ end\ of\ generated)""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)

_DEFAULT = "Default: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key, in words."""

    key: str
    type: str
    #: As it is written; empty if the key must be given or has none.
    default: str
    meaning: str
    is_required: bool = False
    #: Whether each host has its own value.
    is_local: bool = False


#: The tables of the experiment file by the names of their blocks.
_TABLES: Mapping[str, type[BaseModel]] = {
    "top": File,
    "objective": Objective,
    "int": parameters.IntTable,
    "float": parameters.FloatTable,
    "categorical": parameters.CategoricalTable,
    "sampler": Sampler,
    "pruner": Pruner,
    "budget": Budget,
    "dedup": Dedup,
    "retry": Retry,
    "replicates": Replicates,
    "resources": Resources,
    "code": Code,
    "fleet": Participation,
    "notify": Notify,
}

#: The models among which a name chooses, by the names of their blocks.
_CHOICES: Mapping[str, Mapping[str, type[Keywords]]] = {"samplers": SAMPLERS, "pruners": PRUNERS}


def table_entries(name: str) -> list[Entry]:
    """The keys of one table of the experiment file."""
    is_local = name == "resources" and Scope.HOST in File.model_fields[name].metadata
    return list(_entries(_TABLES[name], is_local=is_local))


def setting_entries() -> list[Entry]:
    """The keys of the configuration file."""
    defaults = {each.name: each.default for each in fields(Settings)}
    return [
        Entry(
            key=key.name,
            type=_type(TypeAdapter(setting_types()[name]).json_schema(schema_generator=TomlSchema)),
            default=key.default or f"`{describe_value(name, defaults[name])}`",
            meaning=key.description + (" A reload takes it over at once." if key.is_reloaded else ""),
        )
        for name, key in setting_keys().items()
    ]


def refreshed(page: str, text: str) -> str:
    """The page with its generated blocks as the models say."""
    is_manual = page.endswith(".5")

    def block(match: re.Match[str]) -> str:
        entries = setting_entries() if match["name"] == "settings" else None
        if models := _CHOICES.get(match["name"]):
            body = "".join(_manual_choice(models) if is_manual else _markdown_choice(models))
        else:
            entries = entries or table_entries(match["name"])
            body = "".join(map(_manual, entries)) if is_manual else _markdown(entries)
        return f"{match['begin']}{body}{match['end']}"

    return _BLOCK.sub(block, text)


def main() -> None:
    for page in map(Path, PAGES):
        page.write_text(refreshed(str(page), page.read_text()))


def _entries(model: type[BaseModel], *, is_local: bool = False) -> Iterator[Entry]:
    schema = model.model_json_schema(schema_generator=TomlSchema)["properties"]
    for name, field in model.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)]
        if inner and model is not File:
            # A table within a table: no key of it must be given, for it may be left out itself.
            yield from (
                replace(entry, key=f"{name}.{entry.key}", is_required=False) for entry in _entries(inner[0])
            )
        elif model is not File or _is_plain(schema[name]):
            yield _entry(name, field, schema[name], is_local=is_local)


def _entry(key: str, field: FieldInfo, schema: Mapping[str, Any], *, is_local: bool) -> Entry:
    meaning, _, default = (field.description or "").partition(_DEFAULT)
    if not field.is_required() and field.default is not None:
        default = f"`{json.dumps(field.default)}`"
    return Entry(
        key=key,
        type=_type(schema),
        default=default.removesuffix("."),
        meaning=meaning.strip(),
        is_required=field.is_required(),
        is_local=is_local or Scope.HOST in field.metadata,
    )


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_plain(schema: Mapping[str, Any]) -> bool:
    """Whether a key of the file is no table: those have blocks of their own."""
    return "type" in schema and schema["type"] != "object" and schema.get("items", {}).get("type") != "object"


def _type(schema: Mapping[str, Any]) -> str:
    if "title" not in schema and schema.get("type") == "array":
        return f"an array, each {_type(schema['items'])}"
    if "title" not in schema and schema.get("type") == "object":
        return f"a table, each {_type(schema['additionalProperties'])}"
    return words(schema)


def _markdown(entries: Sequence[Entry]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for entry in entries:
        key = f"`{entry.key}`" + (" †" if entry.is_local else "")
        default = "must be given" if entry.is_required else entry.default
        cells = (key, entry.type, default, entry.meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _markdown_choice(models: Mapping[str, type[Keywords]]) -> Iterator[str]:
    yield "| name | keyword | type | meaning |\n|---|---|---|---|\n"
    for name, model in models.items():
        yield f"| `{name}` | | | {_doc(model)} |\n"
        for entry in _options(model):
            yield f"| | `{entry.key}` | {entry.type} | {_whole(entry)} |\n"


def _manual(entry: Entry) -> str:
    default = f" {_DEFAULT}{entry.default}." if entry.default else ""
    local = " Each host has its own." if entry.is_local else ""
    given = " Must be given." if entry.is_required else ""
    kind = entry.type[:1].upper() + entry.type[1:]
    return f".It Li {entry.key}\n{_roff(f'{kind}. {entry.meaning}{default}{given}{local}')}\n"


def _manual_choice(models: Mapping[str, type[Keywords]]) -> Iterator[str]:
    for name, model in models.items():
        yield f".It Li {name}\n{_roff(_doc(model))}\n"
        for entry in _options(model):
            yield f".br\n{_roff(f'`{entry.key}`: {entry.type}. {_whole(entry)}')}\n"


def _options(model: type[Keywords]) -> list[Entry]:
    return [entry for entry in _entries(model) if entry.key in model.option_names()]


def _whole(entry: Entry) -> str:
    return f"{entry.meaning} {_DEFAULT}{entry.default}." if entry.default else entry.meaning


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _roff(text: str) -> str:
    """Text for mdoc: code in bold, a line for each sentence, nothing that roff would take for a request."""
    text = text.replace("\\", r"\e")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    lines = re.split(r"(?<=[.!?]) (?=\S)", text)
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in lines)


if __name__ == "__main__":
    main()
