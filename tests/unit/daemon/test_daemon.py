"""The daemon's own decision at a reload: which of the settings wait for a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tuned.config.settings import Settings
from tuned.daemon.daemon import needs_restart

SETTINGS = Settings(
    storage="sqlite://", spool=Path("s"), state_dir=Path("d"), socket=Path("c"), host="h1", slots=1
)


def test_settings_that_a_running_daemon_takes_over_need_no_restart() -> None:
    then = replace(SETTINGS, slots=2, gpus=("0",), log_format="json")
    assert needs_restart(SETTINGS, then) == set()


def test_all_other_settings_that_changed_need_one() -> None:
    then = replace(SETTINGS, slots=2, host="h2", socket=Path("other"))
    assert needs_restart(SETTINGS, then) == {"host", "socket"}


def test_the_files_and_warnings_of_a_configuration_are_no_settings() -> None:
    then = replace(SETTINGS, files=(Path("more.toml"),), warnings=("heartbeat.expire is 1s",))
    assert needs_restart(SETTINGS, then) == set()
