"""The hosts that an observer finds dead, at made-up times."""

from __future__ import annotations

from tuned.daemon.failure_detector import FailureDetector
from tuned.storage.hosts import HostRow

INTERVAL, EXPIRE = 10.0, 90.0


def row(beat: int, name: str = "h1", *, incarnation: str = "i1", dead: bool = False) -> HostRow:
    return HostRow(name=name, installation_id=name, incarnation=f"{name}-{incarnation}", beat=beat, dead=dead)


def looking(
    *rows: HostRow, start: float = 0.0, seconds: float = EXPIRE, watch: FailureDetector | None = None
) -> FailureDetector:
    """Looks at the same rows once per interval, for so long."""
    watch = watch or FailureDetector(INTERVAL, EXPIRE)
    for step in range(int(seconds / INTERVAL)):
        assert watch.look(list(rows), start + step * INTERVAL) == []
    return watch


def test_a_counter_that_stands_still_for_the_whole_time_is_a_dead_host() -> None:
    watch = looking(row(7))
    assert watch.look([row(7)], EXPIRE - 0.1) == []
    assert watch.look([row(7)], EXPIRE) == [row(7)]


def test_a_counter_that_moves_in_time_is_a_living_host() -> None:
    watch = FailureDetector(INTERVAL, EXPIRE)
    for step in range(100):
        # A beat in eighty seconds, which is slow and alive.
        assert watch.look([row(step // 8)], step * INTERVAL) == []


def test_a_counter_that_goes_back_has_moved() -> None:
    watch = looking(row(7))
    assert watch.look([row(6)], EXPIRE) == []
    assert [sighting.since for sighting in watch.sightings] == [EXPIRE]


def test_who_did_not_look_for_three_intervals_buries_nobody() -> None:
    watch = looking(row(7), seconds=80)
    late = 70 + 3 * INTERVAL + 0.1
    looking(row(7), start=late, watch=watch)
    assert watch.look([row(7)], late + EXPIRE) == [row(7)]


def test_a_look_that_is_a_little_late_does_not_begin_anew() -> None:
    watch = looking(row(7), seconds=80)
    assert watch.look([row(7)], 70 + 3 * INTERVAL) == [row(7)]


def test_whose_beat_did_not_go_through_buries_nobody_until_it_has_watched_anew() -> None:
    watch = looking(row(7), seconds=80)
    watch.blink()
    assert watch.sightings == []
    looking(row(7), start=80, watch=watch)
    assert watch.look([row(7)], 80 + EXPIRE) == [row(7)]


def test_a_new_incarnation_is_watched_from_when_it_was_seen() -> None:
    watch = looking(row(7))
    again = row(7, incarnation="i2")
    looking(again, start=EXPIRE, watch=watch)
    assert watch.look([again], 2 * EXPIRE) == [again]


def test_who_is_marked_dead_is_not_found_again() -> None:
    watch = looking(row(7))
    assert watch.look([row(7, dead=True)], EXPIRE) == []


def test_each_host_is_judged_by_its_own_counter() -> None:
    watch = FailureDetector(INTERVAL, EXPIRE)
    for step in range(9):
        assert watch.look([row(step, "h2"), row(7, "h1"), row(7, "h3")], step * INTERVAL) == []
    assert watch.look([row(9, "h2"), row(7, "h1"), row(8, "h3")], EXPIRE) == [row(7, "h1")]
    assert [(s.row.name, s.since) for s in watch.sightings] == [("h1", 0.0), ("h2", EXPIRE), ("h3", EXPIRE)]


def test_who_was_gone_from_the_database_is_watched_anew() -> None:
    watch = looking(row(7), seconds=80)
    assert watch.look([], 80.0) == []
    assert watch.look([row(7)], EXPIRE) == []
