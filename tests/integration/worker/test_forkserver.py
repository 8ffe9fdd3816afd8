"""The protocol between the daemon and the processes from which trials are forked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.acceptance.daemon import is_alive
from tests.integration.worker.servers import fork, give, server
from tests.waiting import until
from tuned.worker.forkserver import MESSAGE_BYTES, READY

pytestmark = pytest.mark.usefixtures("_subreaper")

COMMAND = (sys.executable, "-m", "tuned.worker.command")


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_trials_that_are_asked_for_are_children_of_the_daemon_and_wait_for_their_order(
    tmp_path: Path,
) -> None:
    with server(*COMMAND) as (daemon, process):
        assert daemon.recv(MESSAGE_BYTES) == READY
        pids, sockets = fork(daemon, 2)
        assert process.pid not in pids
        assert all(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in pids)
        for number, (pid, trial) in enumerate(zip(pids, sockets, strict=True)):
            give(
                trial,
                tmp_path / "output",
                "sh",
                "-c",
                f"echo $TUNED_MARK; exit {number}",
                environment={"PATH": os.environ["PATH"]},
            )
            assert status(pid) == number
            assert (tmp_path / "output").read_text() == "test/trials\n"


def test_a_trial_that_nobody_wants_any_more_ends() -> None:
    with server(*COMMAND) as (daemon, _):
        daemon.recv(MESSAGE_BYTES)
        [pid], [trial] = fork(daemon, 1)
        trial.close()
        assert status(pid) == 125


def test_a_server_that_nobody_holds_ends_and_its_trials_go_on(tmp_path: Path) -> None:
    with server(*COMMAND) as (daemon, process):
        daemon.recv(MESSAGE_BYTES)
        [pid], [trial] = fork(daemon, 1)
        daemon.close()
        until(lambda: process.poll() == 0, what="the server to end")
        assert is_alive(pid)
        give(trial, tmp_path / "output", "true", environment={"PATH": os.environ["PATH"]})
        assert status(pid) == 0
