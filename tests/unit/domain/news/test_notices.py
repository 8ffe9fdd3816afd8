"""Each occasion is told to those who asked for its event, and an undelivered notice is tried again."""

from __future__ import annotations

import pytest

from tuned.domain.news.notices import KEPT_SECONDS, Occasion, Wishes, pause_seconds


@pytest.mark.parametrize(
    ("occasion", "heard_by"),
    [
        (Occasion.ENDED, {"done"}),
        (Occasion.FRUITLESS, {"done", "failed"}),
        (Occasion.BROKEN, {"failed"}),
        (Occasion.BETTER, {"better"}),
    ],
)
def test_an_end_without_a_value_is_heard_by_those_who_want_ends_and_failures(
    occasion: Occasion, heard_by: set[str]
) -> None:
    assert {
        each for each in ("done", "failed", "better") if occasion.is_wanted(frozenset({each}))
    } == heard_by
    assert occasion.event in heard_by


def test_pauses_grow_to_an_hour_and_many_tries_fit_into_the_day() -> None:
    pauses = [pause_seconds(tries) for tries in range(1, 40)]
    assert pauses[:4] == [10.0, 20.0, 40.0, 80.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 3600.0
    assert pause_seconds(10**6) == 3600.0
    assert sum(pauses[:24]) < KEPT_SECONDS


def test_wishes_without_a_way_tell_nothing() -> None:
    assert not Wishes(on=frozenset({"done"})).has_way
    assert Wishes(url="https://example.org/hook").has_way
