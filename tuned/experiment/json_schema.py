"""json_schema."""

from __future__ import annotations

from typing import Any

from tuned.experiment import samplers
from tuned.experiment.file import PARAMETER_NAME, FileTable


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors; the samplers' keywords are in it."""
    schema = FileTable.model_json_schema()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "tuned experiment",
    }
    schema["properties"]["space"]["minProperties"] = 1
    schema["properties"]["space"]["propertyNames"] = {"pattern": f"^{PARAMETER_NAME.pattern}$"}
    common = schema["$defs"]["SamplerTable"]
    schema["$defs"]["SamplerTable"] = {
        "description": common["description"],
        "type": "object",
        "oneOf": [_sampler_schema(name, common["properties"]) for name in samplers.SAMPLERS],
    }
    return schema


def _sampler_schema(name: str, common: dict[str, Any]) -> dict[str, Any]:
    options = {key: _option_schema(option) for key, option in samplers.SAMPLERS[name].options.items()}
    schema = {
        "properties": {**common, "name": {**common["name"], "const": name}, **options},
        "additionalProperties": False,
    }
    return schema if name == samplers.DEFAULT else {**schema, "required": ["name"]}


def _option_schema(option: samplers.Option) -> dict[str, Any]:
    kind = {int: "integer", float: "number", bool: "boolean", str: "string"}[option.kind]
    limits = {"minimum": option.low, "maximum": option.high, "enum": list(option.choices) or None}
    return {"type": kind, **{key: value for key, value in limits.items() if value is not None}}
