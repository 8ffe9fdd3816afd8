"""Work on the files of trials in the daemon's own process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.daemon.trials.chores import Here
from tuned.disk.layout import Layout
from tuned.keeper.chores import announcing, removing

UID = "0" * 32


async def test_it_is_done_and_an_error_is_told(tmp_path: Path) -> None:
    layout = Layout(path=tmp_path)
    layout.points.mkdir()
    here = Here(layout)
    assert await here.step(announcing(UID)) == ([], True)
    assert (layout.points / UID).is_dir()
    assert await here.step(removing("exp", UID)) == ([], True)
    assert not (layout.points / UID).exists()
    layout.points.rmdir()
    with pytest.raises(FileNotFoundError):
        await here.step(announcing(UID))
