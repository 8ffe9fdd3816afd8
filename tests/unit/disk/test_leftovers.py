"""Directories that a study left below the state directory, and their removal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deep_tree import deep_tree
from tuned.disk import leftovers
from tuned.disk.layout import Layout, study_folder

UID, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(path=tmp_path)
    for place in (
        layout.trial(study_folder("exp", UID), 0).work,
        layout.point(UID, "k"),
        layout.point(OTHER, "k"),
    ):
        place.mkdir(parents=True)
        (place / "file").write_text("text")
    return layout


def test_outputs_and_checkpoints_of_one_study_go_and_no_others(layout: Layout) -> None:
    assert leftovers.studies(layout) == {UID, OTHER}
    leftovers.remove(layout, "exp", UID)
    assert leftovers.studies(layout) == {OTHER}
    assert not list(layout.trials.iterdir())
    assert (layout.point(OTHER, "k") / "file").exists()
    leftovers.remove(layout, "exp", UID)


def test_a_host_that_takes_part_is_known_before_its_first_trial(layout: Layout) -> None:
    leftovers.announce(layout, "c" * 32)
    leftovers.announce(layout, "c" * 32)
    assert "c" * 32 in leftovers.studies(layout)


@pytest.mark.parametrize("uid", ["", ".", "..", "../outbox", "A" * 32, f"{UID}/0"])
def test_nothing_is_removed_that_is_not_named_like_a_study(layout: Layout, uid: str) -> None:
    with pytest.raises(ValueError, match="not the uid"):
        leftovers.remove(layout, "exp", uid)
    assert leftovers.studies(layout) == {UID, OTHER}


def test_other_names_are_no_studies(layout: Layout) -> None:
    (layout.points / "notes").mkdir()
    assert leftovers.studies(layout) == {UID, OTHER}


def test_a_link_is_removed_and_not_what_it_leads_to(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "file").write_text("text")
    (layout.points / ("c" * 32)).symlink_to(target)
    (layout.point(UID, "k") / "link").symlink_to(target)
    for uid in ("c" * 32, UID):
        leftovers.remove(layout, "exp", uid)
    assert (target / "file").exists()
    assert leftovers.studies(layout) == {OTHER}


def test_a_tree_of_any_depth_goes(layout: Layout) -> None:
    folder, points = layout.trials / study_folder("exp", UID), layout.points / UID
    with deep_tree(layout.point(UID, "k"), goes=(points,)), deep_tree(folder / "0" / "work", goes=(folder,)):
        leftovers.remove(layout, "exp", UID)
        assert (folder.exists(), leftovers.studies(layout)) == (False, {OTHER})
