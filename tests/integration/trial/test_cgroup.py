"""Control groups of trials, as the kernel has them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.daemon import is_alive
from tests.integration.trial.trees import cgroup_root, double_fork, pid_in
from tests.waiting import until
from tuned.trial import cgroup
from tuned.trial.cgroup import Cgroup, Root


@pytest.fixture
def place() -> Iterator[tuple[Root, str]]:
    with cgroup_root() as found:
        yield found


@pytest.fixture
def group(place: tuple[Root, str]) -> Cgroup:
    root, name = place
    return root.create(name)


def leave(group: Cgroup, pid_file: Path) -> int:
    """A process that is on its own, in the group."""
    joining = f"echo 0 > {group.path}/cgroup.procs; {double_fork(pid_file)}"
    subprocess.run(("sh", "-c", joining), check=True)
    return pid_in(pid_file)


def test_what_leaves_session_and_parents_is_still_in_the_group(group: Cgroup, tmp_path: Path) -> None:
    pid = leave(group, tmp_path / "pid")
    # The process that it began to write its pid down ends a moment later.
    until(lambda: group.processes() == [pid], what=lambda: f"{group.processes()} to be {pid} alone")
    assert not group.is_empty()


async def test_a_kill_reaches_all_and_empty_is_said_when_they_are_gone(group: Cgroup, tmp_path: Path) -> None:
    pid = leave(group, tmp_path / "pid")
    group.kill()
    assert await group.wait_empty(60)
    assert not is_alive(pid)


async def test_the_wait_for_an_empty_group_is_bounded(group: Cgroup, tmp_path: Path) -> None:
    leave(group, tmp_path / "pid")
    assert not await group.wait_empty(0.05)


def test_a_group_goes_with_the_groups_that_its_trial_made(group: Cgroup) -> None:
    (group.path / "inner" / "innermost").mkdir(parents=True)
    group.remove()
    assert not group.path.exists()


async def test_leftovers_of_a_name_are_killed_and_removed_and_no_others(
    place: tuple[Root, str], tmp_path: Path
) -> None:
    root, name = place
    mine, other = root.create(f"{name}-a-1"), root.create(f"{name}-b-1")
    pid = leave(mine, tmp_path / "pid")
    await root.kill_leftovers(f"{name}-a")
    assert not is_alive(pid)
    assert not mine.path.exists()
    assert other.path.exists()


def test_a_place_that_another_daemon_removed_is_made_anew(group: Cgroup) -> None:
    root = Root(group.path / "trials")
    assert root.create("one").path.is_dir()
    root.remove()
    assert root.path.exists(), "it has a group"
    (root.path / "one").rmdir()
    root.remove()
    assert not root.path.exists()
    assert root.create("two").path.is_dir()


def test_kills_for_want_of_memory_are_counted_where_memory_is_accounted(tmp_path: Path) -> None:
    group = Cgroup(tmp_path)
    assert group.oom_kills() == 0
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 1\n")
    assert group.oom_kills() == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_who_may_not_write_groups_has_none() -> None:
    script = (
        "import os; from tuned.trial.evaluation import cgroup\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); print(cgroup.find().reason)"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.startswith("user nobody (uid 65534) may not write to /")


def test_without_version_2_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_own_group", lambda: None)
    assert isinstance(cgroup.find(), cgroup.Unavailable)
