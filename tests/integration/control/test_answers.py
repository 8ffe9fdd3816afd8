"""How values go over the wire."""

from __future__ import annotations

from pathlib import Path

from tests.integration.control.asking import get
from tests.small_host import SmallHost


async def test_infinite_values_are_json(server: SmallHost, path: Path) -> None:
    server.all_trials = server.all_trials[:1]
    server.all_trials[0]["values"] = [float("inf"), float("-inf"), 1.5]
    _, page = await get(path, "/v1/experiments/minima/trials")
    assert page["trials"][0]["values"] == ["Infinity", "-Infinity", 1.5]
