"""Several evaluations of one point become the ending of one trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from tuned.domain.ending import Cause, Ending, EndState, Failure
from tuned.experiment.replicates import Replicates
from tuned.trial.replicates import combined, reduction, replicated

CRASH = Failure(cause=Cause.EXIT, message="exit status 1", detail={"status": 1})
MEAN = Replicates(count=5)


@pytest.mark.parametrize(("how", "expected"), [("mean", 3.0), ("median", 2.5), ("min", 1.0), ("max", 6.0)])
def test_values_are_reduced(how: str, expected: float) -> None:
    assert reduction(how, [6.0, 1.0, 2.0, 3.0]) == expected


@pytest.mark.parametrize("how", ["mean", "median"])
def test_a_reduction_neither_rounds_nor_overflows_on_its_way(how: str) -> None:
    assert reduction(how, [0.1] * 3) == 0.1
    assert reduction(how, [1.7e308] * 4) == 1.7e308
    assert reduction(how, [math.inf] * 2) == math.inf
    assert math.isnan(reduction(how, [math.inf, -math.inf]))


async def run(
    endings: Sequence[Ending], plan: Replicates = MEAN, *, charges: int = 9
) -> tuple[Ending, dict[int, tuple[float, ...]]]:
    """The ending of a trial whose replicates end so, and the values that were heard."""
    left: Iterator[bool] = iter([True] * charges)
    heard: dict[int, tuple[float, ...]] = {}

    async def evaluate(number: int) -> Ending:
        return endings[number - 1]

    async def charge() -> bool:
        return next(left, False)

    return await replicated(plan, evaluate, charge, heard.__setitem__, []), heard


async def test_each_objective_is_reduced_and_each_value_heard() -> None:
    endings = [Ending(values=(float(n), -2.0 * n)) for n in range(1, 6)]
    ending, heard = await run(endings)
    assert (ending.values, ending.begun, ending.evaluations) == ((3.0, -6.0), 5, 5)
    assert heard == dict(enumerate(ending.replicates, 1))
    assert ending.attributes == {"REPLICATES": [[n, -2.0 * n] for n in range(1, 6)]}


async def test_a_budget_that_ends_in_between_leaves_the_replicates_that_there_are() -> None:
    ending, _ = await run([Ending(values=(1.0,)), Ending(values=(2.0,))], charges=1)
    assert (ending.values, ending.replicates, ending.evaluations) == ((1.5,), ((1.0,), (2.0,)), 2)


async def test_a_replicate_that_fails_fails_the_trial_and_is_the_last() -> None:
    retried = Ending(values=(1.0,), retried=(CRASH,))
    ending, heard = await run([retried, Ending(failure=CRASH, retried=(CRASH,))])
    assert ending.failure is not None
    assert (ending.failure.message, ending.failure.detail) == (
        "replicate 2: exit status 1",
        {"status": 1, "replicate": 2},
    )
    assert [each.message for each in ending.retried] == [f"replicate {n}: exit status 1" for n in (1, 2)]
    assert (heard, ending.begun, ending.evaluations) == ({1: (1.0,)}, 2, 4)


async def test_a_replicate_that_is_pruned_prunes_the_trial_with_the_last_value() -> None:
    ending, _ = await run([Ending(values=(1.0,)), Ending(is_pruned=True, values=(9.0,))])
    assert (ending.state, ending.values) == (EndState.PRUNED, (1.0,))
    ending, _ = await run([Ending(is_pruned=True)])
    assert (ending.state, ending.values, ending.begun) == (EndState.PRUNED, None, 1)


def test_constraints_are_reduced_and_the_last_attribute_of_a_name_wins() -> None:
    one = Ending(values=(1.0,), constraints={"c": 1.0, "d": 1.0}, user_attrs={"a": "1", "b": "1"})
    two = Ending(values=(1.0,), constraints={"c": 2.0}, user_attrs={"a": "2"}, stops_search=True)
    ending = combined(Replicates(count=2, reduce="max"), [one, two])
    assert (ending.constraints, ending.user_attrs) == ({"c": 2.0, "d": 1.0}, {"a": "2", "b": "1"})
    assert ending.stops_search


def test_infinities_that_contradict_each_other_are_no_value() -> None:
    up, down = (Ending(values=(value,), constraints={"c": value}) for value in (math.inf, -math.inf))
    found = combined(MEAN, [up, down])
    assert found.failure is not None
    assert (found.failure.message, found.failure.is_crash) == ("the mean of its replicates is NaN", False)
    one, other = (Ending(values=(1.0,), constraints={"c": value}) for value in (math.inf, -math.inf))
    found = combined(MEAN, [one, other])
    assert found.failure is not None
    assert found.failure.message == "constraint 'c': the mean of its replicates is NaN"
    assert (found.constraints, found.failure.is_crash) == ({}, False)
