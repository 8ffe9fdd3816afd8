"""A study is full, exhausted or over by its counters and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tuned.domain.states import StudyState
from tuned.domain.study_status import StudyStatus

FRESH = StudyStatus(
    revision=1,
    study_id=1, uid="u", definition="{}", state=StudyState.OPEN, seed=1, size=None, trials=0,
    trials_limit=None, evaluations=0, evaluations_limit=None, seconds_left=None, visited=0,
)  # fmt: skip


@pytest.mark.parametrize(
    "spent",
    [{"trials": 5, "trials_limit": 5}, {"evaluations": 5, "evaluations_limit": 5}, {"seconds_left": 0.0}],
    ids=["trials", "evaluations", "time"],
)
def test_a_study_is_full_once_one_of_its_limits_is_reached(spent: dict[str, Any]) -> None:
    assert replace(FRESH, **spent).is_full


def test_a_study_below_its_limits_or_without_any_is_not_full() -> None:
    below = replace(FRESH, trials=4, trials_limit=5, evaluations=4, evaluations_limit=5, seconds_left=0.1)
    assert (below.is_full, replace(FRESH, trials=10**6, evaluations=10**6).is_full) == (False, False)


def test_only_a_finite_space_is_exhausted_and_only_once_all_its_points_are_visited() -> None:
    finite = replace(FRESH, size=9)
    found = [each.is_exhausted for each in (replace(finite, visited=8), replace(finite, visited=9))]
    assert found == [False, True]
    assert not replace(FRESH, visited=10**6).is_exhausted


def test_a_study_is_over_only_when_no_point_is_held() -> None:
    full = replace(FRESH, trials=5, trials_limit=5)
    assert full.is_over
    assert not replace(full, held=1).is_over
    assert not FRESH.is_over
