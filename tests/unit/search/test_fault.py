"""The pause after a failure grows while the failures last."""

from __future__ import annotations

from tuned.errors import TunedError
from tuned.search.fault import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Fault,
    Faults,
    fault_after,
    traced,
)


def test_failures_of_several_slots_at_once_are_one() -> None:
    faults = Faults()
    assert [faults.add(ValueError("no")) for _ in range(3)] == [True, False, False]
    assert faults.waiting is not None
    assert faults.waiting.pause_seconds == FIRST_PAUSE_SECONDS
    faults.try_again()
    assert not faults.add(ValueError("no"))
    assert faults.waiting.pause_seconds == 2 * FIRST_PAUSE_SECONDS


def test_a_traceback_is_for_errors_that_nobody_put_into_words() -> None:
    error = ValueError("no")
    assert traced(error) is error
    assert traced(TunedError("cannot")) is None


def test_each_failure_in_a_row_doubles_the_pause_up_to_the_longest() -> None:
    fault: Fault | None = None
    pauses = []
    for _ in range(9):
        fault = fault_after(ValueError("no"), fault)
        pauses.append(fault.pause_seconds)
        assert not fault.is_due
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
