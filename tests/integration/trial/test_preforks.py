"""The process of a fork server, seen from the daemon."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.integration.trial.trees import cgroup_root
from tuned.trial.cgroup import Root
from tuned.trial.launch import Launch
from tuned.trial.preforks import ServerProcess, new_mark, patience_seconds
from tuned.trial.tree import Tree

pytestmark = pytest.mark.usefixtures("_subreaper")


def a_launch(tmp_path: Path, name: str, cgroups: Root | None) -> Launch:
    return Launch(
        argv=("true",), environment={"PATH": os.environ["PATH"]}, workdir=tmp_path,
        log=tmp_path / "output.log", timeout_seconds=None, objectives=1, pattern=None,
        mark=f"{name}/1", cgroups=cgroups,
    )  # fmt: skip


def begin(program: str) -> Tree:
    return Tree(main=subprocess.Popen([program]), mark="x", group=None)


async def test_a_server_that_is_gone_forks_nothing_and_leaves_no_group(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.close()
    with cgroup_root() as (root, name), capture_logs() as logs:
        server = ServerProcess(tree=begin("true"), socket=ours, ahead=2)
        assert await server.start(a_launch(tmp_path, name, root), (1, 2)) is None
        assert list(root.path.glob(f"{name}*")) == []
        await server.end(0)
    assert [each["event"] for each in logs] == ["the process from which trials are forked is gone"]


def test_a_fork_may_take_half_of_the_trials_time_and_at_most_a_minute(tmp_path: Path) -> None:
    launch = a_launch(tmp_path, "0" * 32, None)
    seconds = [patience_seconds(replace(launch, timeout_seconds=each)) for each in (None, 4.0, 3600.0)]
    assert seconds == [60.0, 2.0, 60.0]


def test_a_servers_mark_is_of_the_same_installation_and_as_long_as_a_trials(tmp_path: Path) -> None:
    launch = a_launch(tmp_path, "0" * 32, None)
    installation_id, _, own = new_mark(launch).partition("/")
    assert (installation_id, len(own)) == ("0" * 32, 32)
    assert new_mark(launch) != new_mark(launch)
