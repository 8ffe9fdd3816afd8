"""The command ``tuned``, up to where it would run: settings, and errors that people read."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from tuned.config.settings_file import LogFormat
from tuned.daemon.main import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "tuned.toml").write_text("slots = 3\n")
    return tmp_path / "tuned.toml"


def check(config: Path, *options: str) -> tuple[int, str]:
    answer = CliRunner().invoke(main, ["--config", str(config), "--check-config", *options])
    return answer.exit_code, answer.output


def test_check_config_shows_the_settings_and_touches_nothing(config: Path) -> None:
    status, shown = check(config)
    assert (status, "slots = 3" in shown) == (0, True)
    assert list(config.parent.iterdir()) == [config]


def test_an_option_wins_over_the_file(config: Path) -> None:
    assert "slots = 5" in check(config, "--slots", "5")[1]


@pytest.mark.parametrize("form", get_args(LogFormat))
def test_every_form_of_the_log_that_a_file_may_name_is_an_option_too(config: Path, form: str) -> None:
    assert f'[log]\nformat = "{form}"' in check(config, "--log-format", form)[1]


def test_a_database_that_cannot_be_right_is_told_in_one_line(config: Path) -> None:
    for url in (
        "postgresql://u:horse@staple@h/d",
        "postgresql://h/d?sslmod=require",
        "sqlite:////etc/passwd",
    ):
        config.write_text(f'storage = "{url}"\n')
        status, shown = check(config)
        assert (status, len(shown.splitlines())) == (1, 1)
        assert "storage: found" in shown
        assert not any(part in shown for part in ("horse", "staple", "Traceback"))


def test_a_wrong_setting_ends_it_with_one_message_and_no_traceback(config: Path) -> None:
    config.write_text("slots = 0\n")
    status, shown = check(config)
    assert status == 1
    assert shown.startswith("tuned: ")
    assert "slots" in shown
    assert "Traceback" not in shown


def test_files_without_until_done_and_until_done_without_files_are_wrong_usage(config: Path) -> None:
    for options in (["--until-done"], ["some.toml"]):
        status, shown = check(config, *options)
        assert (status, "tuned --until-done FILE..." in shown) == (2, True)


def test_all_that_is_wrong_with_files_is_told_before_anything_starts(config: Path) -> None:
    (config.parent / "bad.toml").write_text('direction = "up"\n')
    state = config.parent / "state"
    files = [str(config.parent / name) for name in ("bad.toml", "none.toml")]
    options = ["--config", str(config), "--state-dir", str(state), "--until-done", *files]
    answer = CliRunner().invoke(main, options)
    assert answer.exit_code == 1
    assert "bad.toml: direction: found" in answer.output
    assert "none.toml: found that it cannot be read (No such file or directory)" in answer.output
    assert not state.exists()


def test_tasks_of_one_job_step_need_a_database_that_they_share(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_STEP_ID"):
        monkeypatch.setenv(name, "1")
    assert check(config)[0] == 0
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    status, shown = check(config)
    assert status == 1
    assert "expected a PostgreSQL, because each of the 2 tasks of this job step is a host" in shown
