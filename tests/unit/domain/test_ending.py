"""How an evaluation ended: with values, pruned, or with a failure."""

from __future__ import annotations

import pytest

from tuned.domain.ending import Cause, Ending, EndState, Failure

FAILURE = Failure(cause=Cause.EXIT, message="exit status 3", detail={"status": 3})


def test_an_ending_has_values_or_a_failure_never_both_or_neither() -> None:
    with pytest.raises(ValueError, match="has values, is pruned or has a failure"):
        Ending()
    with pytest.raises(ValueError, match="has no values, and is not pruned"):
        Ending(values=(1.0,), failure=FAILURE)
    with pytest.raises(ValueError, match="has no values, and is not pruned"):
        Ending(is_pruned=True, failure=FAILURE)


def test_the_state_of_an_ending_follows_from_what_it_has() -> None:
    assert Ending(values=(1.0,)).state is EndState.COMPLETE
    assert Ending(failure=FAILURE).state is EndState.FAIL
    assert Ending(is_pruned=True).state is EndState.PRUNED
    assert Ending(is_pruned=True, values=(1.0,)).state is EndState.PRUNED


def test_a_failure_becomes_one_attribute_with_its_facts() -> None:
    assert FAILURE.attribute() == {"cause": "exit", "message": "exit status 3", "status": 3}


def test_each_crash_before_the_end_was_an_attempt_too() -> None:
    assert Ending(values=(1.0,)).attempts == 1
    assert Ending(values=(1.0,), retried=(FAILURE, FAILURE)).attempts == 3
