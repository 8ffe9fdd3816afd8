"""The JSON Schema of the experiment file."""

from __future__ import annotations

import json

from tuned.experiment import samplers
from tuned.experiment.json_schema import json_schema


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    undescribed = [
        key
        for table in tables
        for key, value in table["properties"].items()
        if "description" not in value and "$ref" not in str(value)
    ]
    assert undescribed == []


def test_the_schema_knows_the_keywords_of_every_sampler() -> None:
    tables = json_schema()["$defs"].values()
    variants = {
        table["properties"]["name"]["const"]: table for table in tables if "seed" in table["properties"]
    }
    assert variants.keys() == samplers.SAMPLERS.keys()
    for name, entry in samplers.SAMPLERS.items():
        assert variants[name]["properties"].keys() == {"name", "seed", *entry.option_names()}


def test_the_schema_has_no_null_and_a_name_of_its_own() -> None:
    schema = json_schema()
    assert "null" not in json.dumps(schema)
    assert schema["$id"] == "urn:tuned-hpo:experiment"
