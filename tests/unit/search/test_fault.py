"""The pause after a failure grows while the failures last."""

from __future__ import annotations

from tuned.search.fault import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Fault, fault_after


def test_each_failure_in_a_row_doubles_the_pause_up_to_the_longest() -> None:
    fault: Fault | None = None
    pauses = []
    for _ in range(9):
        fault = fault_after(ValueError("no"), fault)
        pauses.append(fault.pause_seconds)
        assert not fault.is_due
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
