"""Events, a line each."""

from __future__ import annotations

import re

from tests.small_host import a_point
from tests.unit.tunectl.pages.made import PLAIN
from tuned.protocol.disk import RemovedView
from tuned.tunectl.pages import events


def test_an_event_is_one_line_that_cannot_control_the_terminal() -> None:
    line = events.event(
        PLAIN,
        {
            "time": "2025-01-31T12:00:00+00:00",
            "event": "trial-started",
            "host": "alpha",
            "experiment": "minima",
            "trial": 46,
            "slot": 1,
            "params": {**a_point(), "evil": "\x1b[2J\n"},
        },
    )
    assert re.sub(r"^[-0-9]+ [0-9:]+ ", "", line).startswith("trial-started       minima trial 46 slot 1")
    assert len(line) <= 80
    assert line.isprintable()


def test_a_report_is_told_with_its_step() -> None:
    line = events.event(
        PLAIN,
        {
            "time": "2025-01-31T12:00:00+00:00", "event": "trial-reported", "host": "alpha",
            "experiment": "minima", "trial": 46, "slot": 1, "report": {"step": 3, "value": 0.5},
        },
    )  # fmt: skip
    assert line.endswith("trial-reported      minima trial 46 slot 1 step 3: 0.5")


def test_removed_files_are_told_with_their_room() -> None:
    removed: RemovedView = {
        "experiment": "minima", "part": "output", "count": 12, "size_bytes": 3 * 2**20, "rule": "age",
    }  # fmt: skip
    line = events.event(
        PLAIN,
        {
            "time": "2025-01-31T12:00:00+00:00", "event": "files-removed", "host": "alpha",
            "experiment": "minima", "removed": removed,
        },
    )  # fmt: skip
    assert line.endswith("files-removed       minima output of 12 trials, 3.0M")
