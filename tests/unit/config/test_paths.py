"""The default places, and where a socket is looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuned.config.paths import default_paths, socket_candidates

_USER = {"HOME": "/home/eva", "XDG_RUNTIME_DIR": "/run/user/1000"}


def test_root_has_the_systems_places() -> None:
    paths = default_paths({}, user_id=0)
    assert [str(path) for path in (paths.config, paths.spool, paths.state_dir, paths.socket)] == [
        "/etc/tuned/tuned.toml",
        "/var/spool/tuned",
        "/var/lib/tuned",
        "/run/tuned/tuned.sock",
    ]


def test_a_user_under_systemd_has_the_directories_that_systemd_says() -> None:
    paths = default_paths({"STATE_DIRECTORY": "/var/lib/t:/x", "RUNTIME_DIRECTORY": "/run/t"}, user_id=7)
    assert str(paths.config) == "/etc/tuned/tuned.toml"
    assert (str(paths.state_dir), str(paths.socket)) == ("/var/lib/t", "/run/t/tuned.sock")


def test_a_user_has_the_places_of_xdg() -> None:
    paths = default_paths(_USER, user_id=7)
    assert [str(path) for path in (paths.config, paths.spool, paths.state_dir, paths.socket)] == [
        "/home/eva/.config/tuned/tuned.toml",
        "/home/eva/.local/state/tuned/spool",
        "/home/eva/.local/state/tuned",
        "/run/user/1000/tuned/tuned.sock",
    ]


def test_xdg_variables_are_followed_unless_they_are_relative() -> None:
    paths = default_paths({**_USER, "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "relative"}, user_id=7)
    assert str(paths.state_dir) == "/s/tuned"
    assert str(paths.config) == "/home/eva/.config/tuned/tuned.toml"


@pytest.mark.parametrize("environ", [_USER, {"HOME": "/home/eva"}])
def test_the_socket_is_looked_for_where_the_daemon_puts_it(environ: dict[str, str]) -> None:
    candidates = socket_candidates(environ)
    assert default_paths({}, user_id=0).socket == candidates[0]
    assert default_paths(environ, user_id=7).socket == candidates[1]


def test_a_named_socket_is_the_only_candidate() -> None:
    assert socket_candidates({**_USER, "TUNED_SOCKET": "/x.sock"}) == [Path("/x.sock")]


def test_what_tunectl_imports_for_its_paths_is_light() -> None:
    code = "import sys, tuned.config.paths, tuned.errors; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"pydantic", "asyncio", "socket", "optuna", "sqlalchemy", "re2"} & set(loaded.split())


def test_each_task_of_a_slurm_job_has_directories_of_its_own_and_the_settings_of_its_user() -> None:
    task = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1"}
    paths = default_paths({**_USER, **task}, user_id=7)
    assert [str(path) for path in (paths.config, paths.spool, paths.state_dir, paths.socket)] == [
        "/home/eva/.config/tuned/tuned.toml",
        "/home/eva/.local/state/tuned/slurm/7.0.1/spool",
        "/home/eva/.local/state/tuned/slurm/7.0.1",
        "/home/eva/.local/state/tuned/slurm/7.0.1/tuned.sock",
    ]
