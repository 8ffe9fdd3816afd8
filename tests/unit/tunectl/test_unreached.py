"""A daemon that cannot be reached: the advice fits how it was started, and who asks."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from tuned.config.paths import SYSTEM_SOCKET
from tuned.tunectl import unreached


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the service's unit, if it were installed."""
    monkeypatch.setattr(unreached, "UNIT_DIRECTORIES", (tmp_path,))
    return tmp_path / "tuned.service"


def test_only_an_installed_service_is_started_by_systemctl(unit: Path, tmp_path: Path) -> None:
    paths = [SYSTEM_SOCKET, tmp_path / "own.sock"]
    assert unreached.start_of(paths) == "start it as it was started before (tuned)"
    unit.touch()
    assert unreached.start_of(paths) == "systemctl start tuned"


def test_a_daemon_that_a_person_started_is_not_the_service(unit: Path, tmp_path: Path) -> None:
    unit.touch()
    own = tmp_path / "own.sock"
    assert not unreached.is_service([own])
    own.touch()
    assert not unreached.is_service([SYSTEM_SOCKET, own])


def test_a_closed_socket_says_who_joins_which_group(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    closed = tmp_path / "tuned.sock"
    closed.touch()
    os.chown(closed, -1, (group := grp.getgrall()[-1]).gr_gid)
    said = str(unreached.unreachable([(closed, PermissionError())]))
    assert f"closed to {user}: as root, usermod -a -G {group.gr_name} {user}, then log in again" in said
    os.chown(closed, -1, 0)
    assert f"closed to {user}: ask as root" in str(unreached.unreachable([(closed, PermissionError())]))
