"""The room that directories of trials and points take."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tuned.disk import holdings
from tuned.disk.layout import Layout, study_folder
from tuned.domain.retention import Holding, Part

UID = "a" * 32
FOLDERS = {UID: study_folder("exp", UID)}
BLOCK = 4096


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(path=tmp_path)
    layout.trial(FOLDERS[UID], 7).work.mkdir(parents=True)
    layout.point(UID, "key").mkdir(parents=True)
    return layout


def measured(layout: Layout) -> dict[Part, Holding]:
    found, is_done = holdings.step(holdings.measured(layout, FOLDERS), 60)
    assert is_done
    return {each.part: each for each in found}


def test_a_trial_takes_the_room_of_all_that_is_below_it(layout: Layout) -> None:
    before = measured(layout)[Part.OUTPUT]
    (layout.trial(FOLDERS[UID], 7).work / "file").write_bytes(bytes(10 * BLOCK))
    layout.trial(FOLDERS[UID], 7).log.write_bytes(b"x")
    after = measured(layout)[Part.OUTPUT]
    assert (before.name, before.uid) == ("7", UID)
    assert after.size_bytes - before.size_bytes >= 10 * BLOCK
    assert measured(layout)[Part.CHECKPOINTS].name == "key"


def test_a_hole_takes_no_room_and_links_share_theirs(layout: Layout) -> None:
    point = layout.point(UID, "key")
    before = measured(layout)[Part.CHECKPOINTS].size_bytes
    with (point / "hole").open("wb") as file:
        file.truncate(2**30)
    (point / "file").write_bytes(bytes(100 * BLOCK))
    (point / "again").hardlink_to(point / "file")
    assert 100 * BLOCK <= measured(layout)[Part.CHECKPOINTS].size_bytes - before < 110 * BLOCK


def test_the_newest_change_below_counts(layout: Layout) -> None:
    log = layout.trial(FOLDERS[UID], 7).log
    log.touch()
    os.utime(log, (4e9, 4e9))
    assert measured(layout)[Part.OUTPUT].modified == 4e9


def test_no_link_is_followed(layout: Layout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(bytes(100 * BLOCK))
    (layout.point(UID, "key") / "link").symlink_to(elsewhere)
    (layout.points / UID / "other").symlink_to(elsewhere)
    found, _ = holdings.step(holdings.measured(layout, FOLDERS), 60)
    assert sorted(each.name for each in found) == ["7", "key", "other"]
    assert sum(each.size_bytes for each in found) < 100 * BLOCK


def test_studies_that_left_nothing_take_nothing(layout: Layout) -> None:
    other = "b" * 32
    assert list(holdings.measured(layout, {other: study_folder("exp", other)})) == []


def test_a_step_ends_in_the_middle_of_endless_work() -> None:
    found, is_done = holdings.step(itertools.count(), 0.001)
    assert not is_done
    assert found[0] == 0
    assert holdings.step(iter([None, 1, None]), 60) == ([1], True)
