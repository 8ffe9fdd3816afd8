"""The files of a directory that are code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tuned.disk.code.listing import Unlistable, listed


def write(directory: Path, *paths: str) -> None:
    for path in paths:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(path)


def git(directory: Path, *arguments: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@localhost", "-c", "init.defaultBranch=main")
    subprocess.run(("git", "-C", str(directory), *who, *arguments), check=True, capture_output=True)


def test_outside_of_git_all_but_hidden_files_and_caches_are_code(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "pack/net.py", ".env", ".venv/x", "pack/__pycache__/net.pyc", "pack/.keep")
    assert (listed(tmp_path).paths, listed(tmp_path).is_git) == (("pack/net.py", "train.py"), False)


def test_in_git_all_but_ignored_files_are_code_as_they_are_now(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "gone.py", ".hidden", "data/big", "sub/net.py")
    (tmp_path / ".gitignore").write_text("data/\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "gone.py").unlink()
    write(tmp_path, "sub/new.py")
    assert listed(tmp_path).paths == (".gitignore", ".hidden", "sub/net.py", "sub/new.py", "train.py")
    # A directory below the top of the repository has only its own.
    assert listed(tmp_path / "sub").paths == ("net.py", "new.py")


def test_a_repository_within_another_is_listed_too(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "lib/net.py")
    for directory in (tmp_path / "lib", tmp_path):
        git(directory, "init")
    assert listed(tmp_path).paths == ("lib/net.py", "train.py")


def test_no_program_of_the_repositorys_configuration_runs(tmp_path: Path) -> None:
    write(tmp_path, "train.py")
    git(tmp_path, "init")
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    assert listed(tmp_path).paths == ("train.py",)


def test_a_directory_that_cannot_be_listed_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unlistable, match="no such directory"):
        listed(tmp_path / "none")
    write(tmp_path, "file")
    with pytest.raises(Unlistable, match="no directory"):
        listed(tmp_path / "file")
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(Unlistable, match=r"git does not list \(fatal: not a git repository"):
        listed(tmp_path)
