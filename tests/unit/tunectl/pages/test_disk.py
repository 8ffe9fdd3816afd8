"""The list of removed files, letter by letter."""

from __future__ import annotations

import pytest

from tests.small_host import a_cleaning
from tests.unit.tunectl.pages.made import PLAIN, text
from tuned.protocol.disk import KeepView, RemovedView
from tuned.tunectl.pages import disk

NO_LIMITS = KeepView(output_seconds=None, points_seconds=None, size_bytes=None)


def test_everything_that_went_is_listed_with_its_reason_and_the_room_that_it_gave() -> None:
    assert (
        text(disk.cleaned(PLAIN, a_cleaning(), None, is_dry=False))
        == """
EXPERIMENT  WHAT                    SIZE  WHY
old         output of 12 trials     3.0M  ended over 30d ago
old         checkpoints of 1 point  2.0G  all take more than 20G
freed 2.0G, 4.0K are left
"""
    )


def test_a_dry_run_says_what_would_go() -> None:
    lines = disk.cleaned(PLAIN, a_cleaning(), None, is_dry=True)
    assert lines[-1] == "would free 2.0G, 4.0K would be left"


@pytest.mark.parametrize(("name", "has_advice"), [(None, True), ("old", False)])
def test_without_limits_the_way_to_limits_is_told(name: str | None, has_advice: bool) -> None:
    view = a_cleaning(removed=[], freed_bytes=0, keep=NO_LIMITS)
    lines = disk.cleaned(PLAIN, view, name, is_dry=False)
    assert lines[0] == "nothing to remove: output and checkpoints take 4.0K"
    assert any("[keep] in tuned.toml sets no limit" in line for line in lines) is has_advice


def test_one_that_was_asked_for_and_problems_are_told() -> None:
    removed = RemovedView(experiment="old", part="output", count=1, size_bytes=0, rule="asked")
    view = a_cleaning(removed=[removed], problems=["cannot remove \x1b[2J: Permission denied"])
    lines = disk.cleaned(PLAIN, view, "old", is_dry=False)
    assert lines[1].split() == ["old", "output", "of", "1", "trial", "0", "asked", "for"]
    assert (lines[2].isprintable(), "Permission denied" in lines[2]) == (True, True)
