"""Duplicates of held points wait for their twins, and each is claimed again once."""

from __future__ import annotations

from tuned.domain.claim import Action, Candidate, Duplicate, Origin, Twin
from tuned.domain.space import Point
from tuned.domain.states import PointState
from tuned.search.parked import Parked


def duplicate(twin: int, *, waiting: int | None = None) -> Duplicate:
    """Of the point that trial ``twin`` holds; ``waiting`` is the enqueued trial that it is for."""
    candidate = Candidate(point=Point(key=f"{twin}", values={}), origin=Origin.SAMPLER, waiting_trial=waiting)
    held = Twin(trial_id=twin, number=twin, host="h1", state=PointState.HELD)
    return Duplicate(twin=held, action=Action.WAIT, candidate=candidate)


def parked(*duplicates: Duplicate) -> Parked:
    parked = Parked()
    for each in duplicates:
        parked.park(each)
    return parked


def ready(parked: Parked) -> list[str]:
    """The keys of all that may be claimed now, in order."""
    return [each.point.key for each in iter(parked.next_ready, None)]


def test_a_duplicate_is_claimed_again_when_its_own_twin_has_ended() -> None:
    waiting = parked(duplicate(1), duplicate(2), duplicate(1))
    assert ready(waiting) == []
    waiting.release(1)
    assert (ready(waiting), len(waiting)) == (["1", "1"], 1)


def test_a_duplicate_whose_twin_nobody_knows_to_run_is_claimed_again_with_all_others() -> None:
    waiting = parked(duplicate(1), duplicate(2))
    waiting.release_all()
    assert (ready(waiting), len(waiting)) == (["1", "2"], 0)


def test_a_candidate_that_was_parked_is_marked_so_that_it_is_not_counted_twice() -> None:
    waiting = parked(duplicate(1))
    waiting.release(1)
    candidate = waiting.next_ready()
    assert candidate is not None
    assert candidate.was_parked


def test_an_enqueued_trial_is_known_as_parked_until_it_is_handed_out() -> None:
    waiting = parked(duplicate(1, waiting=7), duplicate(2))
    assert waiting.enqueued == {7}
    waiting.release(1)
    assert waiting.enqueued == {7}
    waiting.next_ready()
    assert waiting.enqueued == set()
