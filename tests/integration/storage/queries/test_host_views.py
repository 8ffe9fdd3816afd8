"""A host of the fleet as people see it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuned.domain.states import HostState
from tuned.storage.hosts import HostInfo, HostRow
from tuned.storage.queries.host_views import host_state, host_view


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
    assert host_state(row) == shown


@pytest.mark.parametrize("until", ["", "soon"])
def test_a_host_that_works_or_writes_odd_times_is_not_off(until: str) -> None:
    since = "2026-06-03T05:00:00+00:00"
    row = HostRow(
        name="h", installation_id="i", incarnation="c", beat=1, dead=False,
        info=HostInfo(off_since=since, off_until=until),
    )  # fmt: skip
    assert host_view(row, 0, None)["off"] is None
    info = HostInfo(off_since=since, off_until=since)
    assert host_view(replace(row, info=info), 0, None)["off"] == {"since": since, "until": since}
