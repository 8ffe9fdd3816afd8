"""The keys of the configuration file, found in a document."""

from __future__ import annotations

from typing import Any

import pytest

from tuned.config.settings_file import given_keys
from tuned.config.toml import Problems

_KNOWN = ["slots", "heartbeat.interval", "heartbeat.expire"]


def _read(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    problems = Problems("f")
    return dict(given_keys(document, _KNOWN, problems)), [str(problem) for problem in problems.found]


def test_a_key_in_a_table_is_dotted() -> None:
    document = {"slots": 3, "heartbeat": {"expire": "9s"}}
    assert _read(document) == ({"slots": 3, "heartbeat.expire": "9s"}, [])


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"slot": 1}, "f: slot: found an unknown key, expected slots or heartbeat (did you mean slots?)"),
        ({"heartbeat": 3}, "f: heartbeat: found 3, expected a table"),
        (
            {"heartbeat": {"beat": 1, "expire": 2}},
            "f: heartbeat.beat: found an unknown key, expected interval or expire",
        ),
        (
            {"heartbeat.expire": 3},
            (
                'f: "heartbeat.expire": found an unknown key, expected slots or heartbeat '
                "(did you mean heartbeat?)"
            ),
        ),
    ],
)
def test_a_key_that_is_not_known_is_told(document: dict[str, Any], line: str) -> None:
    assert _read(document)[1] == [line]
