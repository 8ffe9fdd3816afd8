"""The spool, on real files."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tuned.disk.arrivals import Folder, Taken
from tuned.disk.spool import Spool
from tuned.errors import Conflict, InvalidInput, NotFound
from tuned.protocol.limits import MOST_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")


def names(spool: Spool) -> list[str]:
    return [taken.name for taken in spool.take()]


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


@contextlib.contextmanager
def disk_full(*, after_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond: the one full disk that needs no root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def tmpfs(path: Path, size: str) -> Iterator[None]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


# Taking


def test_a_taken_file_is_our_own_copy_in_active(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"x = 1")
    with (spool.path / "a.toml").open("rb") as original:
        assert spool.take() == [Taken(name="a", content=b"x = 1")]
        copy = (spool.path / "active" / "a.toml").stat()
        assert copy.st_ino != os.fstat(original.fileno()).st_ino
    assert (stat.S_IMODE(copy.st_mode), copy.st_gid) == (0o640, spool.path.stat().st_gid)
    assert tree(spool.path) == {"active/a.toml"}
    assert spool.take() == []


@pytest.mark.parametrize(
    "name", [".a.toml", "a.toml.tmp", "a.toml.part", "a.toml~", "a.txt", ".toml", "toml"]
)
def test_unfinished_and_other_files_are_not_looked_at(spool: Spool, name: str) -> None:
    (spool.path / name).write_bytes(b"x")
    assert spool.take() == []
    assert tree(spool.path) == {name}


@pytest.mark.parametrize("kind", ["symbolic link", "directory", "FIFO", "socket"])
def test_what_is_no_regular_file_is_rejected(
    spool: Spool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spool.path)
    with socket.socket(socket.AF_UNIX) as unix:
        match kind:
            case "symbolic link":
                Path("a.toml").symlink_to("/etc/passwd")
            case "directory":
                Path("a.toml").mkdir()
            case "FIFO":
                os.mkfifo("a.toml")
            case "socket":
                unix.bind("a.toml")
        assert spool.take() == []
    assert kind in Path("rejected/a.toml.error").read_text()
    assert os.path.lexists("rejected/a.toml")
    assert not os.path.lexists("a.toml")


@pytest.mark.parametrize(("size", "is_taken"), [(MOST_FILE_BYTES, True), (MOST_FILE_BYTES + 1, False)])
def test_a_file_over_one_mebibyte_is_rejected(spool: Spool, size: int, is_taken: bool) -> None:
    (spool.path / "a.toml").write_bytes(b"#" * size)
    assert bool(spool.take()) == is_taken
    assert (spool.path / "rejected" / "a.toml.error").exists() != is_taken


_ANY_NAME = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=60)
_PLAIN_NAME = st.text("aZ0._-~", min_size=1, max_size=110)


@settings(deadline=None)  # Each example waits for the disk several times.
@given(_ANY_NAME | _PLAIN_NAME, st.booleans())
def test_a_name_is_taken_rejected_or_not_looked_at_and_nothing_is_lost(name: str, is_toml: bool) -> None:
    file = os.fsencode(name.encode("utf-8", "replace").decode() + (".toml" if is_toml else ""))
    with tempfile.TemporaryDirectory() as directory, Spool(Path(directory, "spool")) as spool:
        if file in (b".", b"..", b"active", b"done", b"cancelled", b"rejected") or len(file) > 255:
            return
        (spool.path / os.fsdecode(file)).write_bytes(b"x")
        is_good = re.fullmatch(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.toml", file)
        is_candidate = file.endswith(b".toml") and not file.startswith(b".")
        assert bool(spool.take()) == bool(is_good)
        found = tree(spool.path)
        if is_good or not is_candidate:
            assert len(found) == 1
        else:
            assert {Path(path).parent.name for path in found} == {"rejected"}
            assert all(re.fullmatch(r"rejected/[\w.-]+", path, re.ASCII) for path in found)
        assert any((spool.path / path).read_bytes() == b"x" for path in found)


@pytest.mark.parametrize("stem", ["x" * 101, "x" * 250, "-a", "a b", "\x1b[2J", "ü"])
def test_a_bad_name_is_rejected_under_a_safe_one(spool: Spool, stem: str) -> None:
    (spool.path / f"{stem}.toml").write_bytes(b"x")
    assert spool.take() == []
    [error] = (spool.path / "rejected").glob("*.error")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.toml\.error", error.name)
    assert ascii(stem) in error.read_text()


def test_an_active_name_is_not_overwritten(spool: Spool) -> None:
    for content in (b"first", b"second", b"third"):
        (spool.path / "a.toml").write_bytes(content)
        spool.take()
    assert spool.active() == [Taken(name="a", content=b"first")]
    assert (spool.path / "rejected" / "a.toml").read_bytes() == b"second"
    assert (spool.path / "rejected" / "a.1.toml").read_bytes() == b"third"
    reason = "an experiment file of this name is active\n"
    assert (spool.path / "rejected" / "a.1.toml.error").read_text() == reason


def test_what_the_owner_put_in_place_of_a_read_file_is_not_lost(spool: Spool) -> None:
    source = spool.path / "a.toml"
    source.write_bytes(b"first")
    seen = source.lstat()
    (spool.path / "active" / "a.toml").write_bytes(b"first")
    (spool.path / "new").write_bytes(b"second")
    (spool.path / "new").rename(source)
    spool._remove_original(source, seen)
    assert (spool.path / "rejected" / "a.toml").read_bytes() == b"second"
    assert spool.active() == [Taken(name="a", content=b"first")]


def test_a_file_is_not_taken_while_it_is_being_written(spool: Spool) -> None:
    with (spool.path / "a.toml").open("wb", buffering=0) as writer:
        writer.write(b"half")
        assert spool.take() == []
        writer.write(b" and half")
    assert spool.take() == [Taken(name="a", content=b"half and half")]


def test_a_crash_between_copy_and_removal_takes_the_file_once(directory: Path) -> None:
    with Spool(directory) as spool:
        (directory / "a.toml").write_bytes(b"x")
        spool.take()
    (directory / "a.toml").write_bytes(b"x")
    with Spool(directory) as spool:
        assert [taken.name for taken in spool.active()] == ["a"]
        assert spool.take() == []
    assert tree(directory) == {"active/a.toml"}


def test_a_crash_while_copying_leaves_nothing_that_is_taken_for_a_file(directory: Path) -> None:
    with Spool(directory):
        pass
    (directory / "a.toml").write_bytes(b"whole")
    (directory / "active" / ".a.toml.tmp").write_bytes(b"wh")
    with Spool(directory) as spool:
        assert spool.active() == []
        assert spool.take() == [Taken(name="a", content=b"whole")]
    assert tree(directory) == {"active/a.toml"}


def test_killed_at_any_moment_each_file_is_there_exactly_once(directory: Path) -> None:
    code = (
        "import pathlib, sys; from tuned.disk.spool import Spool; spool = Spool(pathlib.Path(sys.argv[1]))\n"
        "while True: print(len(spool.take(limit=1)), flush=True)"
    )
    with Spool(directory):
        for number in range(200):
            (directory / f"e{number:03}.toml").write_text(f"{number}")
    for kills in range(1, 4):
        command = [sys.executable, "-c", code, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for _ in range(13 * kills):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    with Spool(directory) as spool:
        taken = spool.active() + spool.take(limit=1000)
    assert sorted(one.content for one in taken) == sorted(str(n).encode() for n in range(200))
    assert len(tree(directory)) == 200


def test_a_thousand_files_are_taken_in_bounded_batches(spool: Spool) -> None:
    for number in range(1000):
        (spool.path / f"e{number}.toml").write_bytes(b"x")
    sizes = []
    while batch := spool.take(limit=150):
        sizes.append(len(batch))
    assert sizes == [150] * 6 + [100]
    assert len(spool.active()) == 1000


def test_a_file_that_its_owner_takes_back_is_no_error(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A scan meets exactly this: a file that was listed is gone when it is looked at.
    monkeypatch.setattr(spool, "_files", lambda: ["gone.toml"])
    assert spool.take() == []


def test_a_full_disk_leaves_the_original_untouched_until_there_is_room(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"#" * 10_000)
    (spool.path / "b.toml").write_bytes(b"#" * 100)
    with disk_full(after_bytes=4096), structlog.testing.capture_logs():
        assert names(spool) == ["b"]
        assert tree(spool.path) == {"a.toml", "active/b.toml"}
    assert names(spool) == ["a"]


def test_what_is_rejected_on_a_full_disk_is_out_of_the_way_all_the_same(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"x")
    spool.take()
    with disk_full(after_bytes=4096), structlog.testing.capture_logs() as logs:
        spool.reject("a", problems := "bad\n" * 2000)
    assert tree(spool.path) == {"rejected/a.toml"}
    assert logs[-1]["problems"] == problems


# Moving on


def test_a_file_in_active_goes_on_after_a_restart(directory: Path) -> None:
    for _ in range(2):
        with Spool(directory) as spool:
            (directory / "a.toml").write_bytes(b"x")
            spool.take()
            assert spool.active() == [Taken(name="a", content=b"x")]


@pytest.mark.parametrize("into", [Folder.DONE, Folder.CANCELLED])
def test_a_retired_file_never_overwrites_an_earlier_one(spool: Spool, into: Folder) -> None:
    for number in range(3):
        (spool.path / "a.toml").write_text(str(number))
        spool.take()
        spool.retire("a", into)
        assert not spool.is_active("a")
    found = {path.name: path.read_text() for path in (spool.path / into).iterdir()}
    assert found == {"a.toml": "0", "a.1.toml": "1", "a.2.toml": "2"}


def put(directory: Path, **texts: str) -> None:
    for name, text in texts.items():
        (directory / f"{name}.toml").write_text(text)


def test_an_active_files_content_is_replaced_whole(spool: Spool) -> None:
    put(spool.path, a="one")
    assert names(spool) == ["a"]
    spool.replace(Taken(name="a", content=b"two"))
    assert tree(spool.path) == {"active/a.toml"}
    assert (spool.path / "active" / "a.toml").read_text() == "two"
    with pytest.raises(NotFound):
        spool.replace(Taken(name="b", content=b"two"))


def test_a_file_that_has_changed_meanwhile_is_neither_replaced_nor_removed(spool: Spool) -> None:
    put(spool.path, a="mine")
    assert names(spool) == ["a"]
    theirs, mine = Taken(name="a", content=b"mine", origin="h2"), Taken(name="a", content=b"mine")
    assert not spool.replace(Taken(name="a", content=b"two"), before=theirs)
    assert not spool.discard("a", before=theirs)
    assert (spool.path / "active" / "a.toml").read_text() == "mine"
    assert spool.replace(theirs, before=mine)
    assert spool.discard("a", before=theirs)
    assert tree(spool.path) == set()


def test_the_same_file_again_is_removed_and_told_once(spool: Spool) -> None:
    for _ in range(2):
        put(spool.path, a="one")
        spool.take()
    assert (spool.unchanged(), spool.unchanged(), tree(spool.path)) == (["a"], [], {"active/a.toml"})


def test_files_of_some_folders_are_removed_by_name_and_content(spool: Spool) -> None:
    put(spool.path, a="one", b="one")
    assert names(spool) == ["a", "b"]
    put(spool.path / "done", a="one", b="one")
    put(spool.path / "cancelled", a="two")
    spool.discard("b")
    spool.discard_all([Folder.DONE, Folder.CANCELLED], lambda file, text: (file, text) == ("a.toml", b"one"))
    assert tree(spool.path) == {"active/a.toml", "done/b.toml", "cancelled/a.toml"}
    with pytest.raises(NotFound):
        spool.discard("b")


def test_a_rejected_file_has_its_problems_beside_it(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"x")
    spool.take()
    target = spool.reject("a", "a.toml: one\na.toml: two \ud800")
    error = target.with_name("a.toml.error")
    assert error.read_text() == "a.toml: one\na.toml: two \\ud800\n"
    assert stat.S_IMODE(error.stat().st_mode) == 0o640


def test_what_was_removed_from_active_by_hand_is_not_active_and_cannot_be_moved(spool: Spool) -> None:
    (spool.path / "a.toml").write_bytes(b"x")
    spool.take()
    (spool.path / "active" / "a.toml").unlink()
    assert not spool.is_active("a")
    with pytest.raises(NotFound, match=r"not in .*active"):
        spool.retire("a", Folder.DONE)


def test_what_is_no_experiment_file_in_active_is_rejected_at_the_start(spool: Spool) -> None:
    (spool.path / "active" / "link.toml").symlink_to("/etc/passwd")
    (spool.path / "active" / "a b.toml").write_bytes(b"x")
    assert spool.active() == []
    assert {path.name for path in (spool.path / "rejected").glob("*.toml")} == {"link.toml", "a_b.toml"}


def test_a_folder_that_was_tidied_away_is_made_again(spool: Spool) -> None:
    (spool.path / "done").rmdir()
    (spool.path / "a.toml").write_bytes(b"x")
    spool.take()
    assert spool.retire("a", Folder.DONE).read_bytes() == b"x"


# Opening


def test_the_spool_is_made_private_with_its_folders(spool: Spool) -> None:
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in spool.path.iterdir()}
    assert modes == dict.fromkeys(("active", "done", "cancelled", "rejected"), 0o750)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_spool_that_any_user_may_write_to_is_refused(directory: Path, mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(InvalidInput, match=rf"mode {mode:04o}.*chmod o-w {directory}"):
        Spool(directory)


def test_a_folder_whose_files_members_could_change_is_refused(directory: Path) -> None:
    (directory / "active").mkdir(parents=True)
    (directory / "active").chmod(0o770)
    with pytest.raises(InvalidInput, match=r"active: .*chmod go-w"):
        Spool(directory)


def test_a_file_in_the_place_of_the_spool_is_refused(directory: Path) -> None:
    directory.write_text("")
    with pytest.raises(InvalidInput, match="no directory"):
        Spool(directory)


def test_a_second_daemon_is_refused_until_the_first_has_gone(directory: Path) -> None:
    with Spool(directory), pytest.raises(Conflict, match="another daemon"):
        Spool(directory)
    with Spool(directory):
        pass


def test_the_lock_does_not_leak_to_programs_that_the_daemon_starts(directory: Path) -> None:
    with Spool(directory):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, Spool(directory):
        child.communicate()


@as_root
def test_a_spool_on_another_filesystem_that_is_full_takes_what_it_has_room_for(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "spool", "128k"), Spool(tmp_path / "spool") as spool:
        (spool.path / "a.toml").write_bytes(b"#" * 40_000)
        (spool.path / "filler").write_bytes(b"#" * (80 * 1024))
        assert spool.take() == []
        assert tree(spool.path) == {"a.toml", "filler"}
        (spool.path / "filler").unlink()
        assert names(spool) == ["a"]


@as_root
def test_a_spool_that_is_unmounted_is_gone(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "spool", "1m"):
        spool = Spool(tmp_path / "spool")
    with spool, pytest.raises(NotFound, match="removed or replaced"):
        spool.take()


# Other users


@contextlib.contextmanager
def as_daemon_user(spool_owner: int) -> Iterator[Path]:
    """A sticky spool of group 65534 as packages install it; this process is uid and gid 65534 within."""
    base = Path(tempfile.mkdtemp(prefix="tuned-spool-"))
    base.chmod(0o755)
    directory = base / "spool"
    directory.mkdir()
    os.chown(directory, spool_owner, 65534)
    directory.chmod(0o3770)
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield directory
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        shutil.rmtree(base)


def write_as(uid: int, path: Path, *, mode: int = 0o644, seconds_old: float = 0) -> None:
    os.setresuid(0, 0, 0)
    path.write_bytes(b"x")
    path.chmod(mode)
    os.utime(path, (time.time() - seconds_old,) * 2)
    os.chown(path, uid, 65534)
    os.setresuid(65534, 65534, 0)


@as_root
def test_another_users_file_is_taken_once_it_has_been_quiet() -> None:
    with as_daemon_user(spool_owner=65534) as directory, Spool(directory) as spool:
        write_as(1000, directory / "new.toml")
        write_as(1000, directory / "old.toml", seconds_old=2)
        write_as(1000, directory / "future.toml", seconds_old=-3600)
        assert names(spool) == ["future", "old"]


@as_root
def test_a_file_we_may_not_read_stays_until_we_may_and_is_told_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with as_daemon_user(spool_owner=65534) as directory, Spool(directory) as spool:
        write_as(1000, directory / "a.toml", mode=0o600, seconds_old=2)
        assert [spool.take(), spool.take(), spool.take()] == [[], [], []]
        assert capfd.readouterr().out.count("cannot be taken") == 1
        write_as(1000, directory / "a.toml", mode=0o640, seconds_old=2)
        assert names(spool) == ["a"]


@as_root
def test_whatever_another_user_puts_there_goes_out_of_the_way_and_is_explained() -> None:
    with as_daemon_user(spool_owner=65534) as directory, Spool(directory) as spool:
        for number in range(2):
            os.setresuid(0, 0, 0)
            (directory / "dir.toml").mkdir()
            os.mkfifo(directory / "fifo.toml")
            (directory / "link.toml").symlink_to("/etc/passwd")
            for path in directory.glob("*.toml"):
                os.chown(path, 1000, 1000, follow_symlinks=False)
            os.setresuid(65534, 65534, 0)
            assert [names(spool), list(directory.glob("*.toml"))] == [[], []]
            assert (directory / f"dir.toml.{number}.rejected").is_dir()
        kept = {path.name for path in (directory / "rejected").iterdir()}
        assert {"fifo.toml", "fifo.1.toml", "link.toml", "link.1.toml"} <= kept
        told = (directory / "rejected" / "dir.toml.error").read_text()
        assert told.startswith("it is a directory, not a regular file; nobody but its owner may move")
        assert str(directory / "dir.toml.1.rejected") in told


@as_root
def test_a_file_that_we_may_not_remove_is_not_taken_again_and_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with as_daemon_user(spool_owner=0) as directory, Spool(directory) as spool:
        write_as(1000, directory / "a.toml", seconds_old=2)
        write_as(1000, directory / "bad name.toml", seconds_old=2)
        before = (directory / "active").stat().st_mtime_ns
        assert [spool.take(), spool.take()] == [[], []]
        after = (directory / "active").stat().st_mtime_ns
        assert [spool.take(), (directory / "active").stat().st_mtime_ns] == [[], after]
        assert before < after
        assert tree(directory) == {"a.toml", "bad name.toml"}
    assert capfd.readouterr().out.count("cannot be taken") == 2


# Files of other hosts


def lent(name: str = "exp", content: bytes = b"x = 1\n") -> Taken:
    return Taken(name=name, content=content, origin="h1")


def test_a_file_of_another_host_is_active_with_its_origin_after_a_restart_too(directory: Path) -> None:
    with Spool(directory) as spool:
        assert spool.adopt(lent())
        assert not spool.adopt(lent(content=b"x = 2\n"))
    with Spool(directory) as spool:
        assert spool.active() == [lent()]
        spool.retire("exp", Folder.CANCELLED)
        assert spool.bring_back("exp", lambda content: content == b"x = 1\n") is None
        ended = (Folder.DONE, Folder.CANCELLED)
        assert spool.bring_back("exp", lambda content: content == b"x = 1\n", ended) == lent()


def test_a_persons_file_takes_the_place_of_another_hosts(spool: Spool) -> None:
    spool.adopt(lent())
    (spool.path / "exp.toml").write_bytes(b"x = 2\n")
    assert spool.take(intake=Agreeing()) == [Taken(name="exp", content=b"x = 2\n")]
    assert spool.active() == [Taken(name="exp", content=b"x = 2\n")]
    assert tree(spool.path) == {"active/exp.toml"}


def test_the_same_file_makes_another_hosts_this_hosts_own(spool: Spool) -> None:
    spool.adopt(lent())
    (spool.path / "exp.toml").write_bytes(b"x = 1\n")
    assert spool.take() == []
    assert spool.unchanged() == ["exp"]
    assert spool.active() == [Taken(name="exp", content=b"x = 1\n")]


def test_a_file_that_may_not_take_its_place_is_rejected_and_the_other_stays(spool: Spool) -> None:
    spool.adopt(lent())
    (spool.path / "exp.toml").write_bytes(b"x = 2\n")
    assert spool.take(intake=Objecting()) == []
    assert spool.active() == [lent()]
    [(_, why)] = spool.refusals()
    assert why == "override: True"


def test_a_file_that_cannot_take_its_place_now_leaves_the_other(spool: Spool) -> None:
    spool.adopt(lent())
    (spool.path / "exp.toml").write_bytes(b"x" * 5000)
    with disk_full(after_bytes=1000):
        assert spool.take(intake=Agreeing()) == []
    assert spool.active() == [lent()]
    assert [taken.name for taken in spool.take(intake=Agreeing())] == ["exp"]


class Agreeing:
    """Each file is the one that is active."""

    def bring(self, name: str, content: bytes, uid: int) -> None:
        pass

    def explain(self, name: str, content: bytes, is_override: bool) -> str:
        return ""


class Objecting(Agreeing):
    def explain(self, name: str, content: bytes, is_override: bool) -> str:
        return f"override: {is_override}"
