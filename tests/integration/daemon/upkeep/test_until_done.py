"""The files for which a daemon was begun: read before it starts, dropped as copies, and its exit status."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.daemon import an_experiment
from tuned.daemon.upkeep.until_done import UntilDone, read
from tuned.domain.states import HostState
from tuned.errors import InvalidInput


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "minima.toml"
    path.write_text(an_experiment())
    return path


def test_a_copy_is_dropped_and_the_original_stays(file: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    UntilDone(read([file]), spool, 0).drop()
    assert [path.name for path in spool.iterdir()] == ["minima.toml"]
    assert (spool / "minima.toml").read_text() == file.read_text() == an_experiment()


def test_all_problems_of_all_files_are_told_at_once(file: Path, tmp_path: Path) -> None:
    names = ("a b.toml", "second/minima.toml", "fifo.toml", "twice.toml")
    unfit, second, fifo, twice = map(tmp_path.joinpath, names)
    second.parent.mkdir()
    for path in (unfit, second):
        path.write_text(file.read_text())
    twice.write_text(f"wrong = 1\n{an_experiment()}wronger = 2\n")
    os.mkfifo(fifo)
    with pytest.raises(InvalidInput) as caught:
        read([file, unfit, second, fifo, twice])
    told = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert [line.partition(":")[0] for line in told] == [*names, "twice.toml"]
    assert told[1] == "second/minima.toml: found a second file of the name minima.toml, expected another name"


@pytest.mark.parametrize(("ended", "status"), [(HostState.DRAINING, 75), (HostState.ABORTING, 143)])
def test_a_daemon_that_ends_before_its_files_says_so(file: Path, ended: HostState, status: int) -> None:
    assert UntilDone(read([file]), file.parent, 0).exit_status(ended) == status
    assert UntilDone((), file.parent, 0).exit_status(ended) == 0
