"""When the values of a search end it."""

from __future__ import annotations

import math

import pytest

from tuned.domain.ends import Ends, Progress, Values, reached, stalled

FALLS = Ends(rises=(False,), stalled=3, min_delta=(0.0,))
RISES = Ends(rises=(True,), stalled=3, min_delta=(0.1,))
BOTH = Ends(rises=(False, True), stalled=3, min_delta=(0.0, 1.0))


def after(ends: Ends, *values: float | Values | None) -> Progress:
    progress = Progress()
    for number, each in enumerate(values):
        told = (each,) if isinstance(each, int | float) else each
        progress = progress.after(ends, number, told)
    return progress


@pytest.mark.parametrize(
    ("rises", "target", "values", "is_reached"),
    [
        ((True,), (0.9,), (0.9,), True),
        ((True,), (0.9,), (0.89,), False),
        ((True,), (0.9,), (math.inf,), True),
        ((False,), (0.9,), (0.9,), True),
        ((False,), (0.9,), (0.91,), False),
        ((False, True), (1.0, 5.0), (0.5, 5.0), True),
        ((False, True), (1.0, 5.0), (0.5, 4.9), False),
    ],
)
def test_a_target_is_reached_by_all_values_of_one_trial(
    rises: tuple[bool, ...], target: Values, values: Values, is_reached: bool
) -> None:
    assert Ends(rises=rises, target=target).are_reached_by(values) is is_reached


def test_without_a_target_nothing_reaches_it() -> None:
    assert not FALLS.are_reached_by((-math.inf,))


def test_equal_and_worse_values_failures_and_prunings_stall() -> None:
    assert after(FALLS, 1.0, 1.0, 2.0, None) == Progress(front=((1.0,),), since=0, stalled=3)


def test_a_better_value_begins_the_count_again() -> None:
    assert after(FALLS, 1.0, None, 0.5, None) == Progress(front=((0.5,),), since=2, stalled=1)


def test_small_steps_add_up_to_a_better_value() -> None:
    assert after(RISES, 1.0, 1.0625, 1.09375) == Progress(front=((1.0,),), since=0, stalled=2)
    assert after(RISES, 1.0, 1.0625, 1.125) == Progress(front=((1.125,),), since=2)


def test_an_infinite_value_is_no_better_than_itself() -> None:
    assert after(FALLS, math.inf, math.inf).stalled == 1
    assert after(FALLS, math.inf, 5.0).since == 1
    assert after(FALLS, -math.inf, -math.inf, 5.0).stalled == 2


def test_several_objectives_stall_while_their_front_stays() -> None:
    first, other = (1.0, 5.0), (2.0, 7.0)
    assert after(BOTH, first, other) == Progress(front=(first, other), since=1)
    # The last one is ahead of neither by enough.
    assert after(BOTH, first, other, (2.5, 7.0), (1.0, 5.5)).stalled == 2


def test_what_is_dominated_leaves_the_front() -> None:
    assert after(BOTH, (1.0, 5.0), (2.0, 7.0), (1.0, 8.0)).front == ((1.0, 8.0),)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([None, None], None),
        ([None, None, None], "no value in 3 evaluations"),
        ([1.0, 0.5, 0.5, None, 0.5], "nothing better in 3 evaluations since trial 1"),
        ([1.0, None, None], None),
    ],
)
def test_a_search_ends_when_nothing_has_become_better_for_long(
    values: list[float | None], words: str | None
) -> None:
    assert stalled(FALLS, after(FALLS, *values)) == words


def test_one_evaluation_is_said_in_the_singular() -> None:
    ends = Ends(rises=(True,), stalled=1, min_delta=(0.0,))
    assert stalled(ends, after(ends, 1.0, None)) == "nothing better in 1 evaluation since trial 0"


def test_a_target_is_told_with_the_trial_that_reached_it() -> None:
    assert reached((0.99,), 41, "h3") == "target 0.99 reached by trial 41 on h3"
    assert reached((1.0, 1e-5), 41, None) == "targets 1, 1e-05 reached by trial 41 of another program"
