"""A directory of a trial or a point is there whole, or gone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deep_tree import deep_tree
from tuned.disk import leftovers, removal
from tuned.disk.layout import Layout, study_folder
from tuned.domain.retention import Part

UID = "a" * 32
FOLDER = study_folder("exp", UID)
NOBODY = 65534


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return filled(tmp_path)


def filled(home: Path) -> Layout:
    """Three trials, each with a tree, and one point."""
    layout = Layout(path=home)
    for number in range(3):
        deep = layout.trial(FOLDER, number).work / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(bytes(8192))
    layout.point(UID, "key").mkdir(parents=True)
    return layout


def set_aside(layout: Layout, *names: str, part: Part = Part.OUTPUT) -> list[str]:
    return list(removal.set_aside(layout, part, UID, FOLDER, names))


def empty(layout: Layout) -> tuple[int, list[str]]:
    gone = list(removal.emptied(layout))
    return sum(each.freed_bytes for each in gone), [each.problem for each in gone if each.problem]


def trials(layout: Layout) -> list[str]:
    return sorted(path.name for path in (layout.trials / FOLDER).iterdir())


def left_aside(layout: Layout) -> list[Path]:
    return [path for aside in layout.aside if aside.exists() for path in aside.iterdir()]


def test_only_those_that_are_named_go_and_their_room_is_free(layout: Layout) -> None:
    assert set_aside(layout, "0", "2", "9") == ["0", "2"]
    assert trials(layout) == ["1"]
    freed, problems = empty(layout)
    assert (freed >= 2 * 8192, problems, left_aside(layout)) == (True, [], [])


def test_an_interrupted_removal_leaves_whole_directories_and_is_gone_on_with(layout: Layout) -> None:
    work = removal.set_aside(layout, Part.OUTPUT, UID, FOLDER, ["0", "1", "2"])
    assert next(work) == "0"
    work.close()
    assert trials(layout) == ["1", "2"]
    assert (layout.trial(FOLDER, 1).work / "a" / "b" / "file").exists()
    emptying = removal.emptied(layout)
    next(emptying)
    emptying.close()
    assert left_aside(layout)
    assert (empty(layout)[1], left_aside(layout), trials(layout)) == ([], [], ["1", "2"])


def test_the_folder_of_a_study_goes_with_its_last_trial_and_the_mark_of_a_part_stays(layout: Layout) -> None:
    set_aside(layout, "0", "1", "2")
    set_aside(layout, "key", part=Part.CHECKPOINTS)
    empty(layout)
    assert not (layout.trials / FOLDER).exists()
    assert leftovers.studies(layout) == {UID}


def test_a_tree_of_any_depth_goes(layout: Layout) -> None:
    with deep_tree(layout.trial(FOLDER, 0).work, goes=layout.aside):
        set_aside(layout, "0")
        assert (empty(layout)[1], left_aside(layout)) == ([], [])


def test_a_directory_that_a_trial_has_closed_goes(layout: Layout) -> None:
    closed = layout.trial(FOLDER, 0).work / "a"
    (closed / "b").chmod(0o500)
    closed.chmod(0)
    set_aside(layout, "0")
    assert (empty(layout)[1], left_aside(layout)) == ([], [])


def test_a_link_goes_and_not_what_it_leads_to(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o500)
    file = tmp_path / "file"
    file.write_text("text")
    (layout.trial(FOLDER, 0).work / "link").symlink_to(target)
    (layout.trial(FOLDER, 0).work / "hard").hardlink_to(file)
    (layout.points / UID / "other").symlink_to(target)
    set_aside(layout, "0")
    set_aside(layout, "other", part=Part.CHECKPOINTS)
    assert (empty(layout)[1], left_aside(layout)) == ([], [])
    assert (file.read_text(), target.stat().st_mode & 0o777) == ("text", 0o500)


@pytest.fixture
def foreign() -> Iterator[Layout]:
    """All belongs to this process but the inside of trial 0."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    # Others may not enter pytest's own directories.
    with tempfile.TemporaryDirectory() as home:
        layout = filled(Path(home))
        for path in (layout.path, *layout.path.rglob("*")):
            if layout.trial(FOLDER, 0).work not in path.parents:
                os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        yield layout
        os.seteuid(0)


def test_something_that_cannot_be_removed_is_told_and_the_rest_goes(foreign: Layout) -> None:
    set_aside(foreign, "0", "1")
    freed, problems = empty(foreign)
    assert freed >= 8192
    assert {problem.rpartition(": ")[2] for problem in problems} == {"Permission denied"}
    # Another try says it again, and ends.
    assert empty(foreign) == (0, problems)


def test_a_study_stays_known_while_something_of_it_cannot_be_removed(foreign: Layout) -> None:
    with pytest.raises(OSError, match=f"/trials/{FOLDER}/.*: Permission denied"):
        leftovers.remove(foreign, "exp", UID)
    assert (len(trials(foreign)), leftovers.studies(foreign)) == (1, {UID})
