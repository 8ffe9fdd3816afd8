"""Shapes of the protocol, made of the objects of this host."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tuned.daemon import views
from tuned.domain.states import HostState, SearchState
from tuned.experiment.resources import Resources
from tuned.storage.hosts import HostInfo, HostRow

if TYPE_CHECKING:
    from tuned.search.search import Search


@pytest.mark.parametrize(
    ("last", "is_dead", "shown"),
    [
        (HostState.RUNNING, False, "running"),
        (HostState.RUNNING, True, "dead"),
        (HostState.STOPPED, True, "stopped"),
    ],
)
def test_a_dead_host_shows_as_dead_unless_it_wrote_that_it_stopped(
    last: HostState, is_dead: bool, shown: str
) -> None:
    row = HostRow(
        name="h", installation_id="i", incarnation="c", beat=1, dead=is_dead, info=HostInfo(state=last)
    )
    assert views.host_state(row) == shown


def test_limits_that_are_not_set_are_none() -> None:
    assert set(views.resources(Resources()).values()) == {None}
    assert views.resources(Resources(memory=2**20, gpus=0.5))["gpus"] == 0.5


def test_a_slot_without_a_trial_is_idle() -> None:
    assert views.slot(3, None, None) == {"slot": 3, "running": None}


@pytest.mark.parametrize("until", ["", "soon"])
def test_a_host_that_works_or_writes_odd_times_is_not_off(until: str) -> None:
    since = "2026-06-03T05:00:00+00:00"
    row = HostRow(
        name="h", installation_id="i", incarnation="c", beat=1, dead=False,
        info=HostInfo(off_since=since, off_until=until),
    )  # fmt: skip
    assert views.host(row, 0, None)["off"] is None
    info = HostInfo(off_since=since, off_until=since)
    assert views.host(replace(row, info=info), 0, None)["off"] == {"since": since, "until": since}


def test_a_host_says_on_what_it_does_not_work_within_bounds() -> None:
    def search(state: SearchState, reason: str) -> Search:
        return cast("Search", SimpleNamespace(name="minima", state=state, reason=reason))

    many = [search(SearchState.RESTING, "x" * 500)] * 20
    said = views.resting([search(SearchState.WORKING, ""), search(SearchState.PAUSED, "10 crashes"), *many])
    assert said[0] == "minima: 10 crashes"
    assert (len(said), max(map(len, said))) == (10, 200)
