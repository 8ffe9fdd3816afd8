"""The screen of one trial: its story and its output, which is hostile text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.tunectl.top.made import MadeHost, opened
from tests.integration.tunectl.top.test_overview import SIZES
from tuned.tunectl.top.outputs import TAIL_BYTES


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_trial_as_a_person_sees_it(path: Path, host: MadeHost, size: tuple[int, int]) -> None:
    async with opened(path, size) as screen:
        await screen.until("beta")
        await screen.press("tab", "enter")
        await screen.until("done")
        screen.must_be("trial")
        assert host.tail == TAIL_BYTES


@pytest.mark.usefixtures("host")
async def test_a_peer_that_may_only_read_learns_why_it_sees_no_output(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuned.control.peers.Owner.trusts", lambda *_: False)
    async with opened(path) as screen:
        await screen.until("beta")
        assert "epoch" not in screen.text
        await screen.press("tab", "enter")
        await screen.until("OUTPUT")
        assert "epoch" not in screen.text
        assert "cannot do this: " in screen.text
