"""Which output and checkpoints go, by age and by size."""

from __future__ import annotations

import pytest

from tuned.domain.retention import Holding, Keep, Part, Rule, chosen

DAY = 86400.0
OUTPUT, CHECKPOINTS = Part.OUTPUT, Part.CHECKPOINTS

#: Two studies that have ended and one that has not.
ENDED = {"old": 9 * DAY, "new": 3 * DAY}


def held(uid: str, name: str, size: int = 10, *, part: Part = OUTPUT, modified: float = 0.0) -> Holding:
    return Holding(uid=uid, part=part, name=name, size_bytes=size, modified=modified)


ALL = [
    held("new", "n2", modified=4),
    held("new", "n1", modified=3),
    held("old", "o2", modified=6),
    held("old", "o1", part=CHECKPOINTS, modified=5),
    held("runs", "r", modified=1),
]


def names(keep: Keep, rule: Rule) -> list[str]:
    return [each.name for each, why in chosen(ALL, ENDED, keep) if why is rule]


def test_nothing_goes_without_a_limit() -> None:
    assert not Keep().has_limits
    assert chosen(ALL, ENDED, Keep()) == []


def test_each_part_goes_after_a_time_of_its_own_since_the_end() -> None:
    assert names(Keep(output_seconds=4 * DAY), Rule.AGE) == ["o2"]
    assert names(Keep(checkpoints_seconds=4 * DAY), Rule.AGE) == ["o1"]
    assert names(Keep(output_seconds=DAY, checkpoints_seconds=10 * DAY), Rule.AGE) == ["o2", "n1", "n2"]


def test_at_the_limit_itself_everything_stays() -> None:
    assert names(Keep(output_seconds=9 * DAY, checkpoints_seconds=9 * DAY), Rule.AGE) == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [(50, []), (49, ["o1"]), (40, ["o1"]), (39, ["o1", "o2"]), (25, ["o1", "o2", "n1"])],
)
def test_beyond_the_size_the_first_to_end_goes_first_and_its_oldest_first(
    size: int, expected: list[str]
) -> None:
    assert names(Keep(size_bytes=size), Rule.SIZE) == expected


def test_a_running_experiment_counts_for_the_size_and_keeps_everything() -> None:
    assert names(Keep(size_bytes=1), Rule.SIZE) == ["o1", "o2", "n1", "n2"]


def test_what_is_too_old_does_not_count_for_the_size() -> None:
    keep = Keep(output_seconds=4 * DAY, size_bytes=40)
    assert (names(keep, Rule.AGE), names(keep, Rule.SIZE)) == (["o2"], [])
