"""A fleet keeps its promises under faults: the short form of ``make chaos``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fleet.chaos import run


@pytest.mark.timeout(480)
def test_a_fleet_keeps_its_promises_under_faults(tmp_path: Path) -> None:
    assert run(tmp_path, seconds=45, seed=int(os.environ.get("CHAOS_SEED") or 7))
