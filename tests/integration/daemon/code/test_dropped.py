"""The snapshots of files that are dropped here: who may take them, and how long they stay."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.factories import linked
from tuned.daemon.code.dropped import CodeOfFiles
from tuned.disk.arrivals import Refused
from tuned.errors import Conflict
from tuned.experiment.experiment import Experiment, parse

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'


def text_of(code: Path) -> bytes:
    return f'[objective]\ncommand = ["true"]\n[code]\ndir = "{code}"\n{SPACE}'.encode()


def of(text: bytes) -> Experiment:
    return parse(text, "exp.toml")


@asynccontextmanager
async def at_home(url: str, home: Path) -> AsyncIterator[tuple[CodeOfFiles, Path]]:
    """The room, and a directory with code."""
    (home / "spool" / "active").mkdir(parents=True)
    (home / "code").mkdir()
    (home / "code" / "train.py").write_text("1\n")
    async with linked(url) as link:
        yield CodeOfFiles(link, home / "spool"), home / "code"


async def test_a_file_of_the_daemons_own_user_gets_its_snapshot_from_the_daemon(
    database_url: str, tmp_path: Path
) -> None:
    async with at_home(database_url, tmp_path) as (dropped, code):
        dropped.bring("exp", text_of(code), os.geteuid())
        experiment = await dropped.given(of(text_of(code)), "exp")
        manifest = dropped.manifest("exp")
        assert manifest is not None
        assert [entry.path for entry in manifest.entries] == ["train.py"]
        assert experiment.snapshot == manifest.digest
        dropped.drop("exp")
        assert dropped.manifest("exp") is None
        assert (await dropped.given(experiment, "exp")) is experiment


async def test_the_daemon_reads_no_directory_for_another_user(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as (dropped, code):
        with pytest.raises(Refused, match="the daemon reads no directory for another user, so submit"):
            dropped.bring("exp", text_of(code), os.geteuid() + 1)
        assert list((tmp_path / "spool" / "active").iterdir()) == []


async def test_a_snapshot_that_came_with_a_file_must_be_one_and_its_users(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path) as (dropped, code):
        arrived = tmp_path / "spool" / "exp.code"
        held = tmp_path / "spool" / "active" / "exp.code"
        dropped.bring("exp", text_of(code), os.geteuid())
        held.rename(arrived)
        # The directory may be gone by then.
        (code / "train.py").unlink()
        dropped.bring("exp", text_of(code), os.geteuid())
        assert (held.exists(), arrived.exists()) == (True, False)
        held.rename(arrived)
        if os.geteuid() != 0:
            with pytest.raises(Refused, match="a snapshot of another user"):
                dropped.bring("exp", text_of(code), os.geteuid() + 1)
        for wrong in (b"no archive", b""):
            arrived.write_bytes(wrong)
            with pytest.raises(Refused, match="found a snapshot that is none"):
                dropped.bring("exp", text_of(code), os.geteuid())
        arrived.symlink_to("/etc/passwd")
        with pytest.raises(Refused, match="a symbolic link"):
            dropped.bring("exp", text_of(code), os.geteuid())
        with pytest.raises(Refused, match="no snapshot beside the file"):
            dropped.bring("exp", text_of(code), os.geteuid() + 1)


async def test_a_file_without_code_takes_no_snapshot_of_an_earlier_one(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path) as (dropped, code):
        dropped.bring("exp", text_of(code), os.geteuid())
        dropped.bring("exp", b'[objective]\ncommand = ["true"]\n' + SPACE.encode(), os.geteuid())
        assert dropped.manifest("exp") is None


async def test_other_code_than_that_of_the_active_experiment_is_told(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as (dropped, code):
        dropped.bring("exp", text_of(code), os.geteuid())
        active = {"exp": await dropped.given(of(text_of(code)), "exp")}
        assert dropped.explain(active, "exp", text_of(code)) == ""
        (code / "train.py").write_text("2\n")
        dropped.bring("exp", text_of(code), os.geteuid())
        told = dropped.explain(active, "exp", text_of(code))
        assert told.startswith("its code is snapshot ")
        assert told.endswith("tunectl submit --replace --code FILE")
        assert dropped.manifest("exp") is None


async def test_a_replacement_takes_the_snapshot_that_came_for_it(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as (dropped, code):
        experiment = await dropped.replacing(of(text_of(code)), text_of(code), os.geteuid())
        assert len(experiment.snapshot) == 64
        assert dropped.manifest("exp") is None
        with pytest.raises(Conflict, match=r"cannot replace the code: code.dir: found no snapshot"):
            await dropped.replacing(of(text_of(code)), text_of(code), os.geteuid() + 1)
        without = b'[objective]\ncommand = ["true"]\n' + SPACE.encode()
        with pytest.raises(Conflict, match=r"the file has no table \[code\]"):
            await dropped.replacing(of(without), without, os.geteuid())
