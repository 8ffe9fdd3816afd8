"""Archives of snapshots: made of directories, and unpacked as they were."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from tuned.disk.code.archive import Damaged, entry_at, manifest_of, take, unpack
from tuned.domain.snapshot import Manifest
from tuned.errors import InvalidInput

LIMIT = 1024**2


def taken(directory: Path, limit: int = LIMIT) -> tuple[bytes, Manifest]:
    into = io.BytesIO()
    manifest = take(directory, into, file="exp.toml", limit=limit)
    return into.getvalue(), manifest


def problems(directory: Path, limit: int = LIMIT) -> str:
    with pytest.raises(InvalidInput) as refused:
        taken(directory, limit)
    return str(refused.value)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "code"
    (directory / "pack").mkdir(parents=True)
    (directory / "train.py").write_text("print(0)\n")
    (directory / "pack" / "run").write_bytes(bytes(range(256)))
    (directory / "pack" / "run").chmod(0o700)
    (directory / "pack" / "again.py").symlink_to("../train.py")
    return directory


def test_a_directory_comes_out_of_its_archive_as_it_was(code: Path, tmp_path: Path) -> None:
    archive, manifest = taken(code)
    (tmp_path / "tree").mkdir()
    assert manifest == manifest_of(io.BytesIO(archive), limit=LIMIT)
    assert manifest == unpack(io.BytesIO(archive), tmp_path / "tree", limit=LIMIT)
    entries = [entry_at(tmp_path / "tree", entry.path) for entry in manifest.entries]
    assert (Manifest.of(entries), manifest.size_bytes) == (manifest, 265)
    assert (tmp_path / "tree/pack/again.py").read_text() == "print(0)\n"


def test_equal_directories_have_equal_archives_wherever_and_whenever_they_are_made(
    code: Path, tmp_path: Path
) -> None:
    before = taken(code)
    moved = code.rename(tmp_path / "elsewhere")
    os.utime(moved / "train.py", (0, 0))
    (moved / "pack" / "run").chmod(0o755)
    assert taken(moved) == before
    (moved / "pack" / "run").chmod(0o644)
    assert taken(moved)[1].digest != before[1].digest


def test_all_that_no_snapshot_may_have_is_told_at_once(code: Path, tmp_path: Path) -> None:
    os.mkfifo(code / "pipe")
    (code / "out").symlink_to(tmp_path)
    (code / "up").symlink_to("../code/train.py")
    os.close(os.open(os.fsencode(code) + b"/caf\xe9", os.O_CREAT | os.O_WRONLY))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{os.open(code, os.O_RDONLY)}/sock")
        told = problems(code)
    for place, found in (
        ("pipe", "a FIFO, expected files, directories and links to them"),
        ("out", f"a link to '{tmp_path}', which leaves it, expected links within it"),
        ("up", "a link to '../code/train.py', which leaves it"),
        ("sock", "a socket"),
        ("caf\ufffd", "a name that is not UTF-8, expected names in UTF-8"),
    ):
        assert f"exp.toml: code.dir: found {place}: {found}" in told


def test_a_directory_that_is_too_large_or_empty_says_by_which_file(code: Path, tmp_path: Path) -> None:
    told = problems(code, limit=260)
    assert "found 265, of which pack/run has 256, expected at most 260 (code.limit" in told
    (tmp_path / "empty").mkdir()
    assert f"found no files in {tmp_path / 'empty'}, expected a directory with code" in problems(
        tmp_path / "empty"
    )
    assert f"found {tmp_path / 'none'}: no such directory" in problems(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(code: Path) -> None:
    (code / "train.py").chmod(0)
    assert "found train.py: a file that may not be read" in problems(code)


def packed(*members: tarfile.TarInfo) -> io.BytesIO:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    into.seek(0)
    return into


def a_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


@pytest.mark.parametrize(
    "members",
    [
        [a_member("../x")],
        [a_member("/x")],
        [a_member("./x")],
        [a_member("x", tarfile.SYMTYPE, "../y")],
        [a_member("x", tarfile.SYMTYPE, "/etc")],
        [a_member("x", tarfile.LNKTYPE, "y")],
        [a_member("x", tarfile.CHRTYPE)],
        [a_member("x", tarfile.DIRTYPE)],
        [a_member("x"), a_member("x")],
        [a_member("x", tarfile.SYMTYPE, "y"), a_member("x/z")],
        [a_member("x"), a_member("x/z")],
        [a_member("x", size=LIMIT), a_member("y", size=1)],
    ],
)
def test_an_archive_that_is_none_of_ours_is_refused(members: list[tarfile.TarInfo], tmp_path: Path) -> None:
    with pytest.raises(Damaged):
        manifest_of(packed(*members), limit=LIMIT)
    with pytest.raises((Damaged, FileExistsError)):
        unpack(packed(*members), tmp_path, limit=LIMIT - 1)
    assert not (tmp_path.parent / "x").exists()


def test_an_archive_that_is_cut_or_changed_is_refused_or_has_another_digest(code: Path) -> None:
    archive, manifest = taken(code)
    for content in (archive[: len(archive) // 2], b"", b"no archive"):
        with pytest.raises(Damaged):
            manifest_of(io.BytesIO(content), limit=LIMIT)
    tar = bytearray(gzip.decompress(archive))
    tar[tar.index(b"print(0)")] ^= 1
    changed = manifest_of(io.BytesIO(gzip.compress(bytes(tar))), limit=LIMIT)
    assert changed.digest != manifest.digest
