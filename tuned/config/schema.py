"""JSON Schema of the models of TOML files, and a value's type in words.

It takes longer to import than all the models, so only a file with a problem or a generator may need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tuned.config.toml import alternatives


class TomlSchema(GenerateJsonSchema):
    """JSON Schema of what TOML can say: it has no null, so a key that is not set is left out.

    A title stands only where a model gives one: it is the value's type in words.
    """

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        return {key: value for key, value in found.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def words(schema: Mapping[str, Any]) -> str:
    """A value's type and bounds, from its JSON Schema: ``an integer from 1 to 9``."""
    if "title" in schema:
        return str(schema["title"])
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return alternatives(json.dumps(value, ensure_ascii=False) for value in values)
    if "anyOf" in schema:
        return alternatives(words(each) for each in schema["anyOf"])
    kinds = {"integer": "an integer", "number": "a number", "boolean": "true or false", "string": "a string"}
    word = kinds[schema["type"]]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{word} from {low} to {high}"
    if (above := schema.get("exclusiveMinimum")) is not None:
        return f"{word} above {above}"
    return word if low is None else f"{word} of at least {low}"
