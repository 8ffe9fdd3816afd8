"""The places of files in a state directory."""

from __future__ import annotations

from pathlib import Path

from tuned.disk.layout import Layout, older_part


def test_a_trial_has_a_directory_of_its_own_with_its_log_and_its_work(tmp_path: Path) -> None:
    files = Layout(path=tmp_path).trial("uid", 7)
    assert files.log == tmp_path / "trials" / "uid" / "7" / "output.log"
    assert older_part(files.log) == files.directory / "output.log.1"
    assert files.work == files.directory / "work"


def test_a_trial_has_output_also_if_all_of_it_was_set_aside(tmp_path: Path) -> None:
    files = Layout(path=tmp_path).trial("uid", 7)
    assert not files.has_output()
    files.directory.mkdir(parents=True)
    older_part(files.log).touch()
    assert files.has_output()


def test_the_newest_trial_has_the_highest_number_whatever_else_lies_there(tmp_path: Path) -> None:
    layout = Layout(path=tmp_path)
    assert layout.newest_trial("uid") is None
    for name in ("9", "10", "notes"):
        (layout.trials / "uid" / name).mkdir(parents=True)
    assert layout.newest_trial("uid") == 10


def test_the_directory_of_a_point_is_the_studys(tmp_path: Path) -> None:
    assert Layout(path=tmp_path).point("uid", "key") == tmp_path / "points" / "uid" / "key"
