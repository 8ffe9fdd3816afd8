"""An experiment file in the spool: its name, its content, and why it may be refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuned.disk.arrivals import Refused, identity, is_looked_at, name_of, read_kept, read_taken
from tuned.protocol.limits import MOST_FILE_BYTES


def test_only_files_of_our_suffix_that_are_not_hidden_are_looked_at() -> None:
    looked_at = [name for name in ("a.toml", ".a.toml", "a.toml.swp", "a") if is_looked_at(name)]
    assert looked_at == ["a.toml"]


@pytest.mark.parametrize("name", ["-a.toml", "a b.toml", "ä.toml", f"{'a' * 101}.toml", "\x1b[2J.toml"])
def test_a_name_that_could_be_no_experiments_is_refused_and_shown_in_ascii(name: str) -> None:
    with pytest.raises(Refused, match=r"^[ -~]*$"):
        name_of(name)


def test_a_file_is_read_whole_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "exp.toml").write_bytes(b"x = 1")
    taken = read_taken(tmp_path / "exp.toml")
    assert (taken.name, taken.content, taken.file) == ("exp", b"x = 1", "exp.toml")


@pytest.mark.parametrize("kind", ["fifo", "link", "large"])
def test_another_kind_of_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "exp.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.write_bytes(b"#" * (MOST_FILE_BYTES + 1))
    with pytest.raises(Refused):
        read_taken(path)
    assert read_kept(path, "exp") is None


def test_a_file_that_was_written_again_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "exp.toml"
    path.write_text("x = 1")
    before = identity(path.stat())
    assert identity(path.stat()) == before
    path.write_text("x = 10")
    assert identity(path.stat()) != before
