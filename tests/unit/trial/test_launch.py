"""A launch: why a program cannot be started."""

from __future__ import annotations

import sys
from pathlib import Path

from tuned.trial.launch import Launch, launch_problem


def a_launch(workdir: Path, program: str) -> Launch:
    return Launch(
        argv=(program,), environment={"PATH": "/no/where"}, workdir=workdir, log=workdir / "output.log",
        timeout_seconds=None, objectives=1, pattern=None, mark="test/1", cgroups=None,
    )  # fmt: skip


def test_a_program_that_can_be_run_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "train").touch(mode=0o755)
    assert launch_problem(a_launch(tmp_path, "./train")) is None
    assert launch_problem(a_launch(tmp_path, sys.executable)) is None


def test_a_directory_or_a_program_that_is_not_there_is_the_problem(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert launch_problem(a_launch(none, "true")) == f"cannot run in {none}: there is no such directory"
    assert launch_problem(a_launch(tmp_path, "true")) == "cannot run 'true': not found in PATH (/no/where)"


def test_a_link_that_leads_nowhere_and_a_file_in_between_are_the_problem(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "file").touch()
    expected = {
        "link": f"it is a link to {tmp_path}/gone, which is not there",
        "file/python": "not a directory",
    }
    for program, told in expected.items():
        path = tmp_path / program
        problem = f"cannot run '{path}': {told} (working directory {tmp_path})"
        assert launch_problem(a_launch(tmp_path, str(path))) == problem
