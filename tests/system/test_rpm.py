"""The package for Fedora and its kin on a booted host: what its scripts do, and what they leave alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.fleet import Fleet, Host, sleeping

#: This machine's packages are not in rpm's database, so it knows nothing of what ours requires.
RPM = ("rpm", "--dbpath=/var/lib/rpm", "--nodeps")

PACKAGE = "/var/tmp/tuned.rpm"


@pytest.fixture
def host(fleet: Fleet) -> Iterator[Host]:
    """A booted host with this package, and an embedded database."""
    host = Host("gamma", fleet.server)
    try:
        host.start_boot()
        host.until_up()
        shutil.copy(Path(os.environ["TUNED_TEST_RPM"]), host.path(PACKAGE))
        host.run(*RPM, "--install", PACKAGE)
        host.run("useradd", "--user-group", "--groups=tuned", "alice")
        host.write("/etc/tuned/tuned.toml", "slots = 2\n")
        yield host
    finally:
        host.close()


def test_it_is_installed_upgraded_under_trials_and_erased_without_their_results(host: Host) -> None:
    assert host.is_active() == "inactive"
    places = ("/var/spool/tuned", "/var/lib/tuned-trials", "/etc/tuned/tuned.toml")
    assert host.run("stat", "-c", "%a %U:%G", *places).stdout.split("\n")[:3] == [
        "3770 tuned:tuned", "2750 tuned-trials:tuned", "640 root:tuned"
    ]  # fmt: skip
    host.run("systemctl", "enable", "--now", "tuned")
    host.drop("kept", sleeping("/srv/go", high=3))
    host.until_running(2)
    before, keeper, trials = host.main_pid(), host.main_pid("tuned-trials"), host.children_of_keeper()
    host.run(*RPM, "--upgrade", "--replacepkgs", PACKAGE)
    assert (host.main_pid() != before, host.is_active()) == (True, "active")
    host.until_running(2)
    assert (host.main_pid("tuned-trials"), host.children_of_keeper()) == (keeper, trials)
    host.write("/srv/go", "")
    host.until_in("done", "kept")
    host.run(*RPM, "--erase", "tuned-hpo")
    assert [host.is_active(unit) for unit in ("tuned", "tuned-trials")] == ["inactive"] * 2
    assert not host.path("/etc/systemd/system/multi-user.target.wants/tuned.service").is_symlink()
    assert not host.path("/usr/lib/tuned-hpo").exists()
    assert host.path("/var/spool/tuned/done/kept.toml").exists()
    assert host.path("/var/lib/tuned/tuned.db").exists()
