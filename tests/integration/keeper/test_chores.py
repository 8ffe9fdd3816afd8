"""Work on the files of trials that the daemon asks its keeper for."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest

from tuned.disk import holdings
from tuned.disk.layout import Layout, study_folder
from tuned.domain.retention import Part
from tuned.keeper.chores import (
    Chore,
    Chores,
    announcing,
    emptying,
    looking,
    measuring,
    removing,
    setting_aside,
)
from tuned.keeper.process import KeeperProcess
from tuned.trial.evaluation import Site
from tuned.trial.launch import Premise

UID = "0" * 32

T = TypeVar("T")


async def done(keeper: KeeperProcess, chore: Chore[T]) -> list[T]:
    found: list[T] = []
    is_done = False
    while not is_done:
        some, is_done = await keeper.step(chore)
        found += some
    return found


def fill(layout: Layout) -> str:
    """Leaves two trials and a point of one study; returns its folder."""
    folder = study_folder("exp", UID)
    for number in (0, 1):
        files = layout.trial(folder, number)
        files.directory.mkdir(parents=True)
        files.log.write_bytes(bytes(4096))
    layout.point(UID, "key").mkdir()
    return folder


async def test_all_of_it_is_done_as_the_daemon_would_do_it(site: Site, keeper: KeeperProcess) -> None:
    layout = site.layout
    assert await done(keeper, announcing(UID)) == []
    folder = fill(layout)
    holding = [each for each in await done(keeper, measuring({UID: folder})) if each.part is Part.OUTPUT]
    assert {each.name for each in holding} == {"0", "1"}
    assert all(each.size_bytes >= 4096 for each in holding)
    assert await done(keeper, setting_aside(Part.OUTPUT, UID, folder, ["0", "7"])) == ["0"]
    assert sum(each.freed_bytes for each in await done(keeper, emptying())) >= 4096
    assert [each.name for each in (layout.trials / folder).iterdir()] == ["1"]
    assert await done(keeper, removing("exp", UID)) == []
    assert not (layout.points / UID).exists()
    premise = Premise(path=None, program="./none.sh", workdir="/", search="/bin")
    assert await done(keeper, looking(premise)) == [
        "cannot run './none.sh': there is no such file (working directory /)"
    ]


async def test_an_error_is_told_and_a_dead_keeper_is_one(site: Site, keeper: KeeperProcess) -> None:
    await keeper.begin()
    site.layout.points.rmdir()
    with pytest.raises(FileNotFoundError):
        await keeper.step(announcing(UID))
    await keeper.close()
    with pytest.raises(OSError, match="the keeper was ended"):
        await keeper.step(announcing(UID))


def test_only_the_newest_of_a_kind_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "STEP_SECONDS", -1.0)
    monkeypatch.setattr(holdings.step, "__defaults__", (-1.0,))
    layout = Layout(path=tmp_path)
    (layout.points / UID).mkdir(parents=True)
    folder, chores = fill(layout), Chores(layout)
    old, new = (setting_aside(Part.OUTPUT, UID, folder, ["0", "1"]) for _ in range(2))
    assert chores.step(old.number, old.work, old.of) == (["0"], False)
    assert chores.step(new.number, new.work, new.of) == (["1"], False)
    # Begun anew, and both are gone.
    assert chores.step(old.number, old.work, old.of) == ([], True)
