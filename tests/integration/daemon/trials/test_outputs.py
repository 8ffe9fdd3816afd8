"""The last lines of running trials come from their files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from tuned.daemon.trials.outputs import last_lines
from tuned.disk.layout import TrialFiles

if TYPE_CHECKING:
    from tuned.daemon.trials.running import Running


def running(directory: Path) -> Running:
    return cast("Running", SimpleNamespace(evaluation=SimpleNamespace(files=TrialFiles(directory))))


async def test_busy_slots_have_the_last_line_of_their_trials(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "output.log").write_text("epoch 1\nepoch 2\n")
    slots = [None, running(tmp_path / "7"), running(tmp_path / "8")]
    assert await last_lines(slots) == {1: "epoch 2", 2: ""}
