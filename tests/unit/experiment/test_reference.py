"""The generated reference names every key, with what the models say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.config.settings import setting_keys
from tuned.experiment.json_schema import json_schema
from tuned.experiment.pruners import PRUNERS
from tuned.experiment.reference import PAGES, refreshed, setting_entries, table_entries
from tuned.experiment.samplers import SAMPLERS

_ROOT = Path(__file__).parents[3]
_EXPERIMENT = [_ROOT / page for page in PAGES if "experiment" in page]
_SETTINGS = [_ROOT / page for page in PAGES if "experiment" not in page]
_HEADINGS = {
    "objective", "space", "sampler", "pruner", "budget", "dedup", "retry", "replicates", "resources",
    "code", "fleet", "notify",
    "points", "forbid", "metric",
}  # fmt: skip


def _names(page: Path, key: str) -> bool:
    text = page.read_text()
    return f"`{key}`" in text or f".It Li {key}\n" in text or f"\\fB{key}\\fR" in text


@pytest.mark.parametrize("page", _EXPERIMENT, ids=lambda page: page.name)
def test_the_reference_names_every_key_and_keyword(page: Path) -> None:
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    keys = {key for table in tables for key in table.get("properties", {}) if key not in _HEADINGS}
    models = (*SAMPLERS.values(), *PRUNERS.values())
    keys |= {option for entry in models for option in entry.option_names()}
    assert [key for key in sorted(keys - {"pattern"}) if not _names(page, key)] == []
    assert _names(page, "metric.pattern")
    assert [each for each in _HEADINGS if f"[{each}" not in page.read_text() and each != "metric"] == []


@pytest.mark.parametrize("page", _SETTINGS, ids=lambda page: page.name)
def test_the_reference_names_every_setting(page: Path) -> None:
    assert [key.name for key in setting_keys().values() if not _names(page, key.name)] == []


def test_what_is_local_is_marked() -> None:
    local = {entry.key for name in ("top", "objective") for entry in table_entries(name) if entry.is_local}
    assert local == {"parallel", "path", "interpreter", "fork", "workdir", "env"}
    assert {entry.key for entry in table_entries("code") if entry.is_local} == {"dir", "limit"}
    assert all(entry.is_local for entry in table_entries("resources"))


def test_an_entry_says_type_bounds_and_default() -> None:
    entries = {entry.key: entry for name in ("dedup", "sampler", "float") for entry in table_entries(name)}
    assert (entries["patience"].type, entries["patience"].default) == ("an integer of at least 1", "`3`")
    assert entries["seed"].type == "an integer from 0 to 4294967295"
    assert (entries["name"].default, entries["low"].is_required) == ('`"tpe"`', True)
    settings = {entry.key: entry for entry in setting_entries()}
    assert (settings["stop.grace"].type, settings["stop.grace"].default) == ("a time span", '`"0s"`')


@pytest.mark.parametrize("page", PAGES)
def test_every_generated_block_is_made_anew(page: str) -> None:
    text = (_ROOT / page).read_text()
    damaged = text.replace("an integer of at least 1", "an integer of at least 7").replace(
        "An integer of", "A"
    )
    assert damaged != text
    assert refreshed(page, damaged) == text
