"""The tables of states, and the pictures of them."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from tuned.domain import states
from tuned.domain.states import HostState, PointState, StudyState, advance

PICTURES = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text()
NAMES = ("HOST_TRANSITIONS", "STUDY_TRANSITIONS", "SEARCH_TRANSITIONS", "POINT_TRANSITIONS")


def picture(name: str) -> set[tuple[str, str]]:
    [body] = re.findall(rf"```mermaid\nstateDiagram-v2\n *%% {name}\n(.*?)```", PICTURES, re.DOTALL)
    return {(now, then) for now, then in re.findall(r"(\w+) --> (\w+)", body)}


@pytest.mark.parametrize("name", NAMES)
def test_each_table_is_what_its_picture_shows(name: str) -> None:
    table: dict[StrEnum, frozenset[StrEnum]] = getattr(states, name)
    assert {(now.value, then.value) for now, follow in table.items() for then in follow} == picture(name)


def test_there_is_one_picture_for_each_table() -> None:
    assert re.findall(r"%% (\w+_TRANSITIONS)", PICTURES) == list(NAMES)
    assert [name for name in vars(states) if name.endswith("_TRANSITIONS")] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_table_says_of_each_state_what_may_follow(name: str) -> None:
    table: dict[StrEnum, frozenset[StrEnum]] = getattr(states, name)
    [kind] = {type(state) for state in table}
    assert set(table) == set(kind)


def test_a_host_never_goes_back() -> None:
    order = list(HostState)
    for now, follow in states.HOST_TRANSITIONS.items():
        assert all(order.index(then) > order.index(now) for then in follow)


def test_abort_may_come_in_any_state_but_the_last() -> None:
    before = set(HostState) - {HostState.ABORTING, HostState.STOPPED}
    assert all(HostState.ABORTING in states.HOST_TRANSITIONS[state] for state in before)


def test_what_may_not_follow_is_refused() -> None:
    assert advance(states.STUDY_TRANSITIONS, StudyState.PAUSED, StudyState.OPEN) is StudyState.OPEN
    with pytest.raises(ValueError, match="paused cannot follow done"):
        advance(states.STUDY_TRANSITIONS, StudyState.DONE, StudyState.PAUSED)


def test_what_may_precede_is_the_table_read_backwards() -> None:
    table = states.POINT_TRANSITIONS
    pairs = {(now, then) for then in PointState for now in states.predecessors(table, then)}
    assert pairs == {(now, then) for now, following in table.items() for then in following}


def test_done_failed_and_pruned_points_are_visited() -> None:
    visited = {state for state in PointState if state.is_visited}
    assert visited == {PointState.DONE, PointState.FAILED, PointState.PRUNED}
