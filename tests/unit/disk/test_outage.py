"""A disk that takes no writes is told once, then with growing pauses, and with what to do."""

from __future__ import annotations

import errno
import itertools
import os

import pytest
from structlog.testing import capture_logs

from tuned.disk.outage import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, DiskOutage


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("tuned.disk.outage.time.monotonic", lambda: now[0])
    return now


def test_a_full_disk_is_told_at_growing_intervals_however_much_fails(clock: list[float]) -> None:
    told: list[float] = []
    disk = DiskOutage("result not on disk")
    with capture_logs() as logs:
        for _ in range(3600):
            disk.note(error(errno.ENOSPC), "/outbox/1.json")
            told += [clock[0]] * (len(logs) - len(told))
            clock[0] += 1.0
    pauses = [after - before for before, after in itertools.pairwise(told)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert (logs[0]["failures"], logs[1]["failures"]) == (1, FIRST_PAUSE_SECONDS)
    assert "make room" in logs[0]["remedy"]


def test_another_outage_and_another_error_are_told_at_once(clock: list[float]) -> None:
    disk = DiskOutage("result not on disk")
    with capture_logs() as logs:
        disk.note(error(errno.ENOSPC), "/outbox/1.json")
        disk.note(error(errno.EROFS), "/outbox/2.json")
        clock[0] += 5 * FIRST_PAUSE_SECONDS
        disk.note(error(errno.EROFS), "/outbox/3.json")
        disk.note(error(errno.EROFS), "/outbox/4.json")
    assert [each["file"][-6] for each in logs] == ["1", "2", "3"]
