"""Faults of this host, found without a daemon."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from tests.small_disk import small_disk
from tuned.config.settings import Settings
from tuned.disk.checkup import check_host, close_directories, nearly_full, space


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a host whose directories are as the daemon makes them."""
    for path in ("spool", "state"):
        (tmp_path / path).mkdir(mode=0o700)
    for path in ("spool/active", "spool/done", "state/outbox"):
        (tmp_path / path).mkdir(mode=0o750)
    return Settings(
        storage="sqlite://", spool=tmp_path / "spool", state_dir=tmp_path / "state",
        socket=tmp_path / "sock", slots=1, host="alpha",
    )  # fmt: skip


def codes(settings: Settings) -> list[str]:
    return [finding["code"] for finding in check_host(settings)]


def test_nothing_is_wrong_with_what_the_daemon_makes_or_what_is_not_there(
    settings: Settings, tmp_path: Path
) -> None:
    assert codes(settings) == []
    settings.spool.rename(tmp_path / "elsewhere")
    assert codes(settings) == []


def test_a_directory_that_others_may_write_to_is_found_and_closed(settings: Settings) -> None:
    settings.spool.chmod(0o3777)
    (settings.spool / "done").chmod(0o770)
    assert codes(settings) == ["permissions", "permissions"]
    assert "chmod 3775" in check_host(settings)[0]["remedy"]
    assert len(close_directories(settings)) == 2
    assert codes(settings) == []
    assert stat.S_IMODE(settings.spool.stat().st_mode) == 0o3775


def test_the_spools_group_may_write_to_the_spool_but_not_to_its_folders(settings: Settings) -> None:
    settings.spool.chmod(0o3770)
    assert codes(settings) == []
    (settings.spool / "active").chmod(0o770)
    assert codes(settings) == ["permissions"]


def test_results_wait_when_they_are_old_and_what_was_set_aside_is_told(settings: Settings) -> None:
    outbox = settings.state_dir / "outbox"
    for name in ("000000000001.json", "000000000002.json", "000000000003.json.corrupt"):
        (outbox / name).write_text("{}")
    assert codes(settings) == ["corrupt-results"]
    os.utime(outbox / "000000000001.json", (0, 0))
    assert codes(settings) == ["corrupt-results", "waiting-results"]
    assert "000000000001.json" in check_host(settings)[1]["what"]


def test_a_setting_that_is_not_wise_is_a_finding(settings: Settings) -> None:
    unwise = Settings(
        storage="sqlite://", spool=settings.spool, state_dir=settings.state_dir, socket=settings.socket,
        slots=1, host="alpha", warnings=("heartbeat.expire is 1s",),
    )  # fmt: skip
    assert codes(unwise) == ["setting"]


def test_the_room_on_a_disk_is_told_or_left_open(tmp_path: Path) -> None:
    found = space(tmp_path)
    assert found is not None
    assert 0 <= found.free_bytes <= found.size_bytes
    assert space(tmp_path / "none") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount something")
def test_a_file_system_with_less_than_a_tenth_left_is_told_of() -> None:
    with small_disk(megabytes=4) as disk:
        assert nearly_full(disk.path) == ""
        (disk.path / "file").write_bytes(bytes(3_500_000))
        assert nearly_full(disk.path) == ""
        (disk.path / "more").write_bytes(bytes(400_000))
        assert re.match(
            rf"the file system of {disk.path} is 9[0-9]% full, [0-9]+K are left: ", nearly_full(disk.path)
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount something")
def test_a_file_system_without_inodes_is_told_of() -> None:
    with small_disk(megabytes=4, inodes=20) as disk:
        for number in range(os.statvfs(disk.path).f_ffree):
            (disk.path / str(number)).touch()
        assert "has used 100% of its inodes, 0 are left" in nearly_full(disk.path)


def test_a_file_system_that_does_not_answer_is_not_told_of(tmp_path: Path) -> None:
    assert nearly_full(tmp_path / "gone") == ""
