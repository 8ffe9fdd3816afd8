"""The process that has imported a Python objective, and its forks."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.integration.worker.channels import ends
from tests.integration.worker.servers import fork, give, server
from tuned.worker import bootstrap
from tuned.worker.forkserver import IMPORTED, MESSAGE_BYTES, READY

pytestmark = pytest.mark.usefixtures("_subreaper")

SPACE = json.dumps({"x": {"type": "int", "low": 0, "high": 9, "step": 1, "log": False}})

POINT = {"TUNED_PARAMS": '{"x": 3}', "TUNED_TRIAL": "0", "TUNED_EXPERIMENT": "exp"}


def program(directory: Path, body: str) -> tuple[str, ...]:
    (directory / "train.py").write_text(body)
    ours = (sys.executable, bootstrap.__file__, "warm_objective")
    return (*ours, "train:objective", str(directory), SPACE, '["minimize"]')


def test_a_fork_calls_the_function_for_its_point(tmp_path: Path) -> None:
    body = "def objective(trial): return trial.suggest_int('x', 0, 9) / 2"
    with server(*program(tmp_path, body)) as (daemon, _), ends() as both:
        assert [daemon.recv(MESSAGE_BYTES) for _ in range(2)] == [IMPORTED, READY]
        [pid], [trial] = fork(daemon, 1)
        # Its mark is as long as the server's.
        give(trial, tmp_path / "output", reports=both.theirs.fileno(), environment=POINT)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert both.told() == [{"values": [1.5]}]
    assert (tmp_path / "output").read_text() == ""


def test_a_trial_without_a_socket_for_its_reports_cannot_begin(tmp_path: Path) -> None:
    with server(*program(tmp_path, "def objective(trial): return 1")) as (daemon, _):
        assert [daemon.recv(MESSAGE_BYTES) for _ in range(2)] == [IMPORTED, READY]
        [pid], [trial] = fork(daemon, 1)
        give(trial, tmp_path / "output", environment=POINT)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 125
    assert "the daemon gave no socket for its reports" in (tmp_path / "output").read_text()


def test_a_module_may_close_its_outputs_or_put_something_else_there(tmp_path: Path) -> None:
    for takes in ("sys.stdout.close(); sys.stderr.close()", "sys.stdout = sys.stderr = None"):
        body = f"import sys\n{takes}\ndef objective(trial): return 2"
        with server(*program(tmp_path, body)) as (daemon, _), ends() as both:
            assert [daemon.recv(MESSAGE_BYTES) for _ in range(2)] == [IMPORTED, READY]
            [pid], [trial] = fork(daemon, 1)
            give(trial, tmp_path / "output", reports=both.theirs.fileno(), environment=POINT)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert both.told() == [{"values": [2.0]}]


def test_a_module_that_leaves_a_thread_says_so_and_is_not_forked(tmp_path: Path) -> None:
    body = "import threading as t\nt.Thread(target=t.Event().wait, name='feeder', daemon=True).start()\n"
    with server(*program(tmp_path, f"{body}def objective(trial): return 1")) as (daemon, process):
        assert daemon.recv(MESSAGE_BYTES) == IMPORTED
        assert daemon.recv(MESSAGE_BYTES) == b"its import leaves threads running (feeder)"
        assert process.wait(60) == 0
