"""A fork that becomes a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.integration.worker.servers import fork, give, server
from tuned.worker.command import CANNOT_RUN
from tuned.worker.forkserver import MESSAGE_BYTES

pytestmark = pytest.mark.usefixtures("_subreaper")


def run(output: Path, *argv: str) -> int:
    with server(sys.executable, "-m", "tuned.worker.command") as (daemon, _):
        daemon.recv(MESSAGE_BYTES)
        [pid], [trial] = fork(daemon, 1)
        give(trial, output, *argv, environment={"PATH": os.environ["PATH"], "ONLY": "this"})
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_has_the_environment_and_the_directory_of_its_order(tmp_path: Path) -> None:
    assert run(tmp_path / "output", "sh", "-c", "pwd; echo $ONLY; echo $HOME") == 0
    assert (tmp_path / "output").read_text() == "/\nthis\n\n"


def test_a_program_that_cannot_be_run_is_told_on_standard_error(tmp_path: Path) -> None:
    assert run(tmp_path / "output", "/no/such") == CANNOT_RUN
    assert (tmp_path / "output").read_text() == "tuned: cannot run '/no/such': No such file or directory\n"


def test_a_broken_pipe_ends_it_as_programs_expect(tmp_path: Path) -> None:
    script = "(sh -c 'kill -PIPE $$; echo survived') 2>&1; exit 3"
    assert run(tmp_path / "output", "sh", "-c", script) == 3
    assert "survived" not in (tmp_path / "output").read_text()
