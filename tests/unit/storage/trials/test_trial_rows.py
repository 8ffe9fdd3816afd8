"""One room knows how Optuna stores a value, an attribute or a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.storage.trials import trial_rows

OTHERS = sorted(
    path
    for path in Path(trial_rows.__file__).parent.rglob("*.py")
    if path.stem not in {"trial_rows", "schema"}
)


@pytest.mark.parametrize("module", OTHERS, ids=lambda path: path.stem)
def test_no_other_room_turns_what_is_stored_into_values(module: Path) -> None:
    text = module.read_text()
    assert "_rdb" not in text
    assert not ("value_json" in text and "import json" in text)
    assert "tzinfo=dt.UTC" not in text


@pytest.mark.parametrize("module", OTHERS, ids=lambda path: path.stem)
def test_nothing_is_looked_for_in_the_text_of_an_attribute(module: Path) -> None:
    text = module.read_text()
    assert [
        word for word in ("value_json.like", "value_json.startswith", "strpos", "instr") if word in text
    ] == []
