"""Words and numbers that several pages share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.small_host import a_summary
from tuned.tunectl.pages import words


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (99_999, "99999"), (120_000, "120k"), (4_200_000, "4.2M"), (10**18, "1E"), (2**62, "4.61E")],
)
def test_a_count_takes_at_most_five_places(count: int, expected: str) -> None:
    assert words.short_count(count) == expected


def test_a_budget_names_each_of_its_limits() -> None:
    summary = a_summary(trials=1, trials_limit=2, evaluations=3, evaluations_limit=4, seconds_left=75.0)
    assert words.budget_text(summary) == "1 of 2 trials, 3 of 4 evaluations, 1min 15s of its time left"
    ends = a_summary(target=[0.99], stalled=12, stalled_limit=50)
    assert words.budget_text(ends).endswith(
        ", until 0.99 is reached, 12 of 50 evaluations with nothing better"
    )
    unlimited = a_summary(trials_limit=None)
    assert words.budget_text(unlimited) == "none: until every point is visited, or cancelled"


def test_a_failure_names_its_cause_once() -> None:
    assert words.failure_text({"cause": "exit", "message": "exit status 1"}) == "exit status 1"
    assert words.failure_text({"cause": "signal", "message": "killed"}) == "signal: killed"
    assert words.failure_text({"cause": "lost"}) == "lost"
    assert words.failure_text(None) == "failed"


def test_a_time_of_today_has_no_date() -> None:
    today, before = datetime.now(UTC).astimezone(), datetime(2025, 1, 31, 12, tzinfo=UTC).astimezone()
    assert words.time_of_day(today.isoformat()) == f"{today:%H:%M:%S}"
    assert words.time_of_day(before.isoformat()) == f"{before:%Y-%m-%d %H:%M:%S}"
