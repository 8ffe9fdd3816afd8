"""Work on the files of trials that the daemon asks its keeper for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.integration.keeper.running import pid_of_keeper
from tuned.daemon.trials.chores import done
from tuned.disk import holdings
from tuned.disk.code import archive, trees
from tuned.disk.code.archive import Damaged
from tuned.disk.code.trees import Tree, tree_of
from tuned.disk.layout import Layout, study_folder
from tuned.domain.retention import Part
from tuned.domain.snapshot import Manifest
from tuned.keeper.chores import (
    Chores,
    announcing,
    clearing_code,
    emptying,
    finishing_code,
    looking,
    measuring,
    receiving_code,
    removing,
    seeing_cards,
    setting_aside,
    tidying_code,
    unpacking_code,
    verifying_code,
)
from tuned.keeper.process import KeeperProcess
from tuned.trial.evaluation import Site
from tuned.trial.launch import Premise

UID = "0" * 32


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
    assert await done(keeper.step, announcing(UID)) == []
    folder = fill(layout)
    holding = [each for each in await done(keeper.step, measuring({UID: folder})) if each.part is Part.OUTPUT]
    assert {each.name for each in holding} == {"0", "1"}
    assert all(each.size_bytes >= 4096 for each in holding)
    assert await done(keeper.step, setting_aside(Part.OUTPUT, UID, folder, ["0", "7"])) == ["0"]
    assert sum(each.freed_bytes for each in await done(keeper.step, emptying())) >= 4096
    assert [each.name for each in (layout.trials / folder).iterdir()] == ["1"]
    assert await done(keeper.step, removing("exp", UID)) == []
    assert not (layout.points / UID).exists()
    premise = Premise(path=None, program="./none.sh", workdir="/", search="/bin")
    assert await done(keeper.step, looking(premise)) == [
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


def a_snapshot(home: Path) -> tuple[Manifest, list[bytes]]:
    """Its archive in two parts."""
    (home / "code").mkdir()
    (home / "code" / "run").write_text("1\n")
    with (home / "archive").open("wb") as into:
        manifest = archive.take(home / "code", into, file="exp.toml", limit=2**20)
    content = (home / "archive").read_bytes()
    return manifest, [content[:50], content[50:]]


def is_untouched(directory: Path) -> bool:
    return list(directory.iterdir()) == []


async def prepare(keeper: KeeperProcess, tree: Tree, digest: str, parts: list[bytes]) -> list[Damaged]:
    for number, part in enumerate(parts):
        await done(keeper.step, receiving_code(tree, number, part))
    return await done(keeper.step, unpacking_code(tree, digest, 2**20))


async def test_code_is_received_in_parts_prepared_and_removed(
    site: Site, keeper: KeeperProcess, tmp_path: Path
) -> None:
    manifest, parts = a_snapshot(tmp_path)
    tree = tree_of(site.layout.code, manifest.digest, None)
    assert await done(keeper.step, verifying_code(tree, manifest.digest)) == [False]
    assert await prepare(keeper, tree, manifest.digest, parts) == []
    assert await done(keeper.step, verifying_code(tree, manifest.digest)) == [False]
    await done(keeper.step, finishing_code(tree))
    assert await done(keeper.step, verifying_code(tree, manifest.digest)) == [True]
    assert await done(keeper.step, tidying_code([tree], -1.0)) == [[]]
    assert await done(keeper.step, tidying_code([], 3600.0)) == [[]]
    assert await done(keeper.step, tidying_code([], -1.0)) == [[tree.path.name]]
    await done(keeper.step, receiving_code(tree, 0, parts[0]))
    await done(keeper.step, clearing_code())
    assert is_untouched(site.layout.code)


async def test_damaged_code_and_a_disk_that_refuses_it_are_told_as_such(
    site: Site, keeper: KeeperProcess, tmp_path: Path
) -> None:
    manifest, parts = a_snapshot(tmp_path)
    tree = tree_of(site.layout.code, manifest.digest, None)
    [damage] = await prepare(keeper, tree, manifest.digest, parts[:1])
    assert isinstance(damage, Damaged)
    assert "it cannot be read: " in str(damage)
    [damage] = await prepare(keeper, tree, "0" * 64, parts)
    assert "its digest is " in str(damage)
    assert is_untouched(site.layout.code)
    site.layout.code.rmdir()
    with pytest.raises(FileNotFoundError):
        await prepare(keeper, tree, manifest.digest, parts)


async def test_code_whose_keeper_is_killed_between_two_parts_begins_anew(
    site: Site, keeper: KeeperProcess, tmp_path: Path
) -> None:
    manifest, parts = a_snapshot(tmp_path)
    tree = tree_of(site.layout.code, manifest.digest, None)
    await done(keeper.step, receiving_code(tree, 0, parts[0]))
    pid = pid_of_keeper()
    # It takes the next part no more, and the daemon is waiting for that.
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(done(keeper.step, receiving_code(tree, 1, parts[1])))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(OSError, match=rf"\(pid {pid}\) ended"):
        await waiting
    assert await prepare(keeper, tree, manifest.digest, parts) == []
    await done(keeper.step, finishing_code(tree))
    assert trees.is_whole(tree, manifest.digest)
    assert pid_of_keeper() != pid


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


async def test_the_keeper_tells_who_computes_on_which_card_of_its_host(
    site: Site, keeper: KeeperProcess
) -> None:
    [sight] = await done(keeper.step, seeing_cards(site.state.installation_id))
    assert (sight.cards, sight.is_missing) == ((), True)
