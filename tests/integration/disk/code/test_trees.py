"""Unpacked snapshots: whole, read-only, and never mistaken for one that is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tuned.disk.code import archive, trees
from tuned.disk.code.archive import Damaged
from tuned.disk.code.trees import Tree, tree_of
from tuned.domain.snapshot import Manifest

LIMIT = 2**20


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, Manifest]:
    code = tmp_path / "code"
    (code / "sub").mkdir(parents=True)
    (code / "sub" / "run").write_text("1\n")
    (code / "sub" / "run").chmod(0o755)
    (code / "link").symlink_to("sub/run")
    with (tmp_path / "archive").open("wb") as into:
        return tmp_path / "archive", archive.take(code, into, file="exp.toml", limit=LIMIT)


def unpacked(home: Path, packed: tuple[Path, Manifest], digest: str = "") -> Tree:
    """Received in two parts."""
    path, manifest = packed
    (home / "trees").mkdir(exist_ok=True)
    tree = tree_of(home / "trees", digest or manifest.digest, None)
    content = path.read_bytes()
    trees.receive(tree, 0, content[:10])
    trees.receive(tree, 1, content[10:])
    trees.unpack(tree, digest or manifest.digest, limit=LIMIT)
    return tree


def ready(home: Path, packed: tuple[Path, Manifest]) -> Tree:
    tree = unpacked(home, packed)
    trees.finish(tree)
    return tree


def test_a_tree_may_be_used_once_it_is_finished_and_as_long_as_it_is_whole(
    tmp_path: Path, packed: tuple[Path, Manifest]
) -> None:
    _, manifest = packed
    assert not trees.is_whole(tree_of(tmp_path / "trees", manifest.digest, None), manifest.digest)
    tree = unpacked(tmp_path, packed)
    assert not trees.is_whole(tree, manifest.digest)
    trees.finish(tree)
    assert trees.is_whole(tree, manifest.digest)
    assert {path.name for path in tree.path.parent.iterdir()} == {tree.path.name, tree.record.name}
    modes = [stat.S_IMODE((tree.path / name).stat().st_mode) for name in ("", "sub", "sub/run")]
    assert modes == [0o555, 0o555, 0o555]
    assert not trees.is_whole(tree, "0" * 64)
    for spoil in (lambda: (tree.path / "sub/run").write_text("2\n"), (tree.path / "link").unlink):
        ready(tmp_path, packed)
        for each in ("", "sub", "sub/run"):
            (tree.path / each).chmod(0o755)
        spoil()
        assert not trees.is_whole(tree, manifest.digest)
        ready(tmp_path, packed)
        assert trees.is_whole(tree, manifest.digest)


def test_a_snapshot_with_another_digest_leaves_nothing(tmp_path: Path, packed: tuple[Path, Manifest]) -> None:
    with pytest.raises(Damaged, match=r"its digest is [0-9a-f]{12}, and not 000000000000"):
        unpacked(tmp_path, packed, "0" * 64)
    assert list((tmp_path / "trees").iterdir()) == []


def test_a_first_part_begins_anew_and_another_one_needs_it(
    tmp_path: Path, packed: tuple[Path, Manifest]
) -> None:
    tree = ready(tmp_path, packed)
    with pytest.raises(FileNotFoundError):
        trees.receive(tree, 1, b"y")
    trees.receive(tree, 0, b"x")
    # A keeper that was killed left them.
    tree.new.mkdir()
    (tree.new / "half").touch()
    assert trees.is_whole(ready(tmp_path, packed), packed[1].digest)
    assert not (tree.path / "half").exists()


def test_another_set_up_makes_another_tree(tmp_path: Path) -> None:
    made = {tree_of(tmp_path, "a" * 64, setup) for setup in (None, ("make",), ("make", "x"))}
    assert len(made) == 3


def test_unused_trees_and_leftovers_of_a_crash_are_removed(
    tmp_path: Path, packed: tuple[Path, Manifest]
) -> None:
    tree = ready(tmp_path, packed)
    tree.log.write_text("made\n")
    directory = tmp_path / "trees"
    (tree.new / "sub").mkdir(parents=True)
    (tree.new / "sub").chmod(0o555)
    tree.packed.touch()
    trees.remove_unfinished(directory)
    assert (tree.new.exists(), tree.packed.exists()) == (False, False)
    assert trees.remove_unused(directory, (), 3600.0) == []
    os.utime(tree.record, (0, 0))
    assert trees.remove_unused(directory, [tree.path.name], 3600.0) == []
    trees.touch(tree)
    assert trees.remove_unused(directory, (), 3600.0) == []
    os.utime(tree.record, (0, 0))
    for part in (tree.fresh, tree.packed):
        part.touch()
    assert trees.remove_unused(directory, (), 3600.0) == [tree.path.name]
    assert list(directory.iterdir()) == []
