"""Files that outlive a crash."""

from __future__ import annotations

import os
import resource
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from tuned.disk import files
from tuned.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


def test_write_gives_exactly_the_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        files.write(tmp_path / "a", b"x", mode=0o640)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    files.write(tmp_path / "a", b"old", mode=0o600)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.write(tmp_path / "a", b"x" * 10_000, mode=0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    files.temporary(tmp_path / "a").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        files.write(tmp_path / "a", b"x", mode=0o600)
    assert (tmp_path / "victim").read_text() == "mine"


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    files.temporary(tmp_path / "a.json").write_bytes(b'{"half')
    (tmp_path / "b.json").write_bytes(b"{}")
    files.remove_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize("kind", ["symbolic link", "directory", "FIFO", "socket", "device"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as unix:
        match kind:
            case "symbolic link":
                path.symlink_to("/etc/hostname")
            case "directory":
                path.mkdir()
            case "FIFO":
                os.mkfifo(path)
            case "socket":
                unix.bind("file")
            case "device":
                path = tmp_path.__class__("/dev/zero")
        with pytest.raises(files.Unfit, match=kind):
            files.open_regular(path, 1000)


def test_a_file_over_the_limit_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 11)
    with pytest.raises(files.Unfit, match="11 bytes, at most 10"):
        files.open_regular(tmp_path / "file", 10)


def test_a_file_is_being_written_until_its_writer_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w"), path.open("rb") as reader:
        assert files.is_being_written(reader, quiet_seconds=0)
    with path.open("rb") as reader:
        assert not files.is_being_written(reader, quiet_seconds=3600)


def test_asking_whether_a_file_is_written_leaves_who_opens_it_then_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with path.open("rb") as reader:
        assert not files.is_being_written(reader, quiet_seconds=0)
        # Breaks the lease: the kernel sends a signal, which must not end this process.
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize(("mode", "closed_to"), [(0o1777, stat.S_IWOTH), (0o770, stat.S_IWGRP)])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int, closed_to: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(InvalidInput, match=f"{mode:04o}.*chmod"):
        files.require_directory(tmp_path, closed_to=closed_to)


def test_a_directory_keeps_its_parents_group_and_gets_its_own_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o2700)
    files.make_directory(tmp_path / "a", 0o750, group=tmp_path.stat().st_gid)
    status = (tmp_path / "a").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o2750, tmp_path.stat().st_gid)
