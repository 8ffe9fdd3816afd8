"""A tree's main process, and the end of all that belongs to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.daemon import is_alive
from tests.integration.trial.trees import cgroup_root, pid_in, staying
from tuned.trial import tree as tree_module
from tuned.trial.cgroup import Cgroup
from tuned.trial.tree import Adopted, Tree, completely

pytestmark = pytest.mark.usefixtures("_subreaper")


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with cgroup_root() as (root, name):
        yield root.create(name)


def begin(script: str, group: Cgroup | None = None) -> Tree:
    joined = f"echo $$ > {group.path}/cgroup.procs; {script}" if group else script
    main = subprocess.Popen(["sh", "-c", joined], start_new_session=True)
    return Tree(main=main, mark=f"test/{os.getpid()}", group=group)


def spawn(script: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], {})


async def test_the_status_of_the_main_process_is_taken_and_kept() -> None:
    tree = begin("exit 7")
    assert [await tree.ended(), await tree.ended()] == [7, 7]
    await tree.kill()


async def test_a_killed_tree_is_gone_with_its_group(group: Cgroup, tmp_path: Path) -> None:
    tree = begin(f"{staying(tmp_path / 'pid')} & wait", group)
    left = await asyncio.to_thread(pid_in, tmp_path / "pid")
    await tree.kill()
    assert not is_alive(left)
    assert not is_alive(tree.main.pid)
    assert (tree.group, group.path.exists()) == (None, False)


async def test_a_member_that_ended_meanwhile_keeps_no_other_from_being_told(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    tree = begin(f"trap 'touch {told}; exit' TERM; {staying(tmp_path / 'pid')} & wait", group)
    await asyncio.to_thread(pid_in, tmp_path / "pid")
    ended = spawn("exit")
    await asyncio.to_thread(os.waitpid, ended, 0)
    listed = Cgroup.processes
    monkeypatch.setattr(Cgroup, "processes", lambda group: [ended, *listed(group)])
    await tree.kill(grace_seconds=60)
    assert told.exists()


async def test_a_main_process_is_its_trees_until_its_end_is_taken() -> None:
    tree = begin("exec sleep 600")
    assert tree.main.pid in tree_module._mains
    await tree.kill()
    assert tree.main.pid not in tree_module._mains


async def test_a_child_that_was_adopted_tells_its_end_as_popen_does() -> None:
    tree = Tree(main=Adopted(spawn("kill -TERM $$")), mark=f"test/{os.getpid()}", group=None)
    assert await tree.ended() == -15
    await tree.kill()


async def test_work_that_is_carried_out_completely_ends_before_its_cancellation() -> None:
    goes_on, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await goes_on.wait()
        done.set()

    waiting = asyncio.create_task(completely(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
    asyncio.get_running_loop().call_soon(goes_on.set)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done.is_set()
