"""The JSON Schema of the experiment file, for editors, made from the models.

It must never say a key, bound or description that no model has.
"""

from __future__ import annotations

from typing import Any

from tuned.config.schema import TomlSchema
from tuned.experiment.file import File
from tuned.experiment.parameters import PARAMETER_NAME


def json_schema() -> dict[str, Any]:
    schema = File.model_json_schema(schema_generator=TomlSchema)
    space = schema["properties"]["space"]
    space |= {"minProperties": 1, "propertyNames": {"pattern": f"^{PARAMETER_NAME.pattern}$"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:tuned-hpo:experiment",
        **schema,
        "title": "tuned experiment",
    }
