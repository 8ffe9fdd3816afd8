"""Where the settings come from, and what contradicts what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuned.config.described import describe
from tuned.config.loading import load
from tuned.config.settings import Settings
from tuned.domain.names import NAME_EXPECTED
from tuned.domain.retention import Keep
from tuned.errors import InvalidInput

_MODE = 'permissions that let the owner in, such as "0660"'
_LISTEN = 'an address and a port, such as "127.0.0.1:9464" or "[::1]:9464"'
_GPUS = '"auto", a number of GPUs or an array of their ids such as ["0", "1"]'
_HOURS = 'hours such as "22:00-07:00" or "Mon-Fri 22:00-07:00", or an array of them'
_SPAN = 'a time span such as "90s", "1h 30min" or a number of seconds'
_SIZE = 'bytes, or a number with K, M, G or T such as "4G", from 1M'
_PASSWORD_URL = "postgresql://tuned:secret@db/tuned"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "tuned.toml"


def _load(config: Path, content: str, **overrides: object) -> Settings:
    config.write_text(content)
    return load(config, {"HOME": str(config.parent)}, **overrides)


def _problems(config: Path, content: str, **overrides: object) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        _load(config, content, **overrides)
    return str(caught.value).replace(str(config), "FILE").splitlines()


def _drop_in(config: Path, name: str, content: str) -> None:
    directory = config.with_name("tuned.toml.d")
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(content)


# --- settings --------------------------------------------------------------------------------------


def test_without_a_file_there_are_the_documented_defaults(tmp_path: Path) -> None:
    settings = load(None, {"HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path)})
    assert settings.storage == f"sqlite:///{tmp_path}/tuned.db"
    assert settings.slots == len(os.sched_getaffinity(0))
    assert settings.host == os.uname().nodename
    assert (settings.interval_seconds, settings.expire_seconds, settings.grace_seconds) == (10, 90, 0)
    assert (settings.control_mode, settings.log_format) == (0o666, "auto")
    assert settings.warnings == ()
    # Nothing is removed that nobody asked for.
    assert not settings.keep.has_limits


def test_a_task_of_a_slurm_job_is_a_host_of_its_own_with_the_cpus_that_it_asked_for(tmp_path: Path) -> None:
    task = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_CPUS_PER_TASK": "3"}
    settings = load(None, {"HOME": str(tmp_path), **task})
    assert settings.host == f"{os.uname().nodename}-7.0.1"
    assert settings.slots == 3


def test_a_file_says_everything(config: Path) -> None:
    settings = _load(
        config,
        """
        storage = "postgres://tuned:secret@db/tuned?sslmode=require"
        spool = "/s"
        state_dir = "/l"
        slots = 3
        gpus = ["0", "GPU-8932f937-d72c"]
        host = "gpu-1.example"
        heartbeat = { interval = "5s", expire = "2min" }
        stop.grace = 1.5
        control = { socket = "/r/t.sock", mode = "0660" }
        metrics.listen = "[::1]:9464"
        keep = { output = "30d", points = "7d", size = "20G" }
        log.format = "json"
        """,
    )
    assert settings.storage == "postgresql+psycopg2://tuned:secret@db/tuned?sslmode=require"
    assert (settings.spool, settings.state_dir, settings.socket) == (
        Path("/s"),
        Path("/l"),
        Path("/r/t.sock"),
    )
    assert (settings.slots, settings.host, settings.log_format) == (3, "gpu-1.example", "json")
    assert (settings.interval_seconds, settings.expire_seconds, settings.grace_seconds) == (5, 120, 1.5)
    assert settings.gpus == ("0", "GPU-8932f937-d72c")
    assert settings.control_mode == 0o660
    assert settings.metrics_listen == "[::1]:9464"
    kept = Keep(output_seconds=30 * 86400, checkpoints_seconds=7 * 86400, size_bytes=20 * 2**30)
    assert settings.keep == kept
    assert settings.files == (config,)


def test_the_embedded_database_is_in_the_state_directory_that_was_given(config: Path) -> None:
    assert _load(config, "", state_dir=Path("/elsewhere")).storage == "sqlite:////elsewhere/tuned.db"


def test_a_later_drop_in_wins_key_by_key(config: Path) -> None:
    _drop_in(config, "20.toml", "slots = 3\n[heartbeat]\nexpire = 50")
    _drop_in(config, "10.toml", "slots = 2\n[heartbeat]\ninterval = 7\n[stop]\ngrace = 1")
    _drop_in(config, "30.conf", "slots = 4")
    settings = _load(config, "slots = 1\nhost = 'h'")
    assert (settings.slots, settings.host, settings.grace_seconds) == (3, "h", 1)
    assert (settings.interval_seconds, settings.expire_seconds) == (7, 50)
    assert [file.name for file in settings.files] == ["tuned.toml", "10.toml", "20.toml"]


def test_the_command_line_wins_over_files(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    settings = _load(config, "slots = 1\nspool = '/s'", slots=5, spool=Path("here"), log_format="console")
    assert (settings.slots, settings.spool, settings.log_format) == (5, config.parent / "here", "console")


def test_an_option_that_was_not_given_changes_nothing(config: Path) -> None:
    assert _load(config, "slots = 9", slots=None, storage=None).slots == 9


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("slot = 1", ("slot: found an unknown key, expected storage, spool, state_dir, slots, gpus, "
            "gpus_in_use, host, labels, heartbeat, stop, keeper, "
            "trials, keep, work, fleet, notify, control, metrics or log (did you mean slots?)")),
        ("labels = 1", "labels: found 1, expected an array of labels"),
        ('labels = ["a b"]', f'labels: found "a b", expected labels of {NAME_EXPECTED}'),
        ('trials.user = "a b"', 'trials.user: found "a b", expected a name of a user, or ""'),
        ("fleet.accept = 1", "fleet.accept: found 1, expected true or false"),
        ("keep.output = 0", "keep.output: found 0, expected a time span of more than 0"),
        ('keep.points = "soon"', f'keep.points: found "soon", expected {_SPAN}'),
        ('keep.size = "much"', f'keep.size: found "much", expected {_SIZE}'),
        ("work.hours = 22", f"work.hours: found 22, expected {_HOURS}"),
        ('work.hours = "22"', f'work.hours: found "22", expected {_HOURS}'),
        ("work.hours = [22]", f"work.hours: found an array of something else, expected {_HOURS}"),
        ('work.when_over = "wait"', 'work.when_over: found "wait", expected "finish" or "abort"'),
        ("keep = 3", "keep: found 3, expected a table"),
        ("slots = 0", "slots: found 0, expected at least 1"),
        ('slots = "4"', 'slots: found "4", expected an integer'),
        ('spool = "s"', 'spool: found "s", expected an absolute path, such as "/srv/minima"'),
        ("gpus = -1", f"gpus: found -1, expected {_GPUS}"),
        ("gpus = true", f"gpus: found true, expected {_GPUS}"),
        ('gpus = "0,1"', f'gpus: found "0,1", expected {_GPUS}'),
        ("gpus = [0]", f"gpus: found an array of something else, expected {_GPUS}"),
        ('gpus = ["0,1"]', f"gpus: found an array of something else, expected {_GPUS}"),
        ('gpus = ["0", "0"]', "gpus: found an id twice, expected ids that differ"),
        ('host = "a b"', ("host: found \"a b\", expected 1 to 100 letters, digits, '.', '_' or '-', "
            "the first one a letter or digit")),
        ('heartbeat.interval = "0s"', 'heartbeat.interval: found "0s", expected a time span of more than 0'),
        ("heartbeat.beat = 1", "heartbeat.beat: found an unknown key, expected interval or expire"),
        ("heartbeat.expire = 10", "heartbeat.expire: found 10s, expected more than heartbeat.interval (10s)"),
        ("heartbeat.interval = 90", "heartbeat.interval: found 1min 30s, expected less than 1min 30s"),
        ("stop.grace = 90", "stop.grace: found 1min 30s, expected less than heartbeat.expire (1min 30s)"),
        ('control.mode = "0066"', f'control.mode: found "0066", expected {_MODE}'),
        ("control.mode = 666", f"control.mode: found 666, expected {_MODE}"),
        ("metrics.listen = 9464", "metrics.listen: found 9464, expected a string"),
        *((f'metrics.listen = "{text}"', f'metrics.listen: found "{text}", expected {_LISTEN}') for text in (
            "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "1.2.3:9464",
            "::1:9464", "[::1]", "[::g]:9464", "http://127.0.0.1:9464", "a b:9464", "-a:9464",
        )),
        ('log.format = "xml"', 'log.format: found "xml", expected "auto", "journal", "console" or "json"'),
        (f'control.socket = "/{"x" * 107}"',
            "control.socket: found a path of 108 bytes, expected at most 107, the kernel's limit"),
        ('storage = "mysql://u:secret@h/d"', ('storage: found "mysql://u:***@h/d", expected '
            '"postgresql://host/database" or "sqlite:////absolute/path.db"')),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_in_one_line(config: Path, content: str, line: str) -> None:
    assert _problems(config, content) == [f"FILE: {line}"]


def test_an_integer_of_permissions_is_read_as_toml_writes_it(config: Path) -> None:
    assert _load(config, "control.mode = 0o600").control_mode == 0o600


def test_all_files_and_the_command_line_are_checked_at_once(config: Path) -> None:
    _drop_in(config, "10.toml", "slots = 0")
    _drop_in(config, "20.toml", "oops")
    lines = _problems(config, "host = 3", storage=_PASSWORD_URL)
    assert [line.split(": ")[0].split("/")[-1] for line in lines] == [
        "FILE",
        "10.toml",
        "20.toml",
        "command line",
    ]


def test_a_contradiction_is_told_where_it_was_made(config: Path) -> None:
    _drop_in(config, "10.toml", "heartbeat.expire = 3")
    (line,) = _problems(config, "heartbeat.interval = 5")
    assert "10.toml: heartbeat.expire: found 3s" in line


def test_a_file_that_was_named_must_be_there(config: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load(config, {})


def test_a_host_that_would_take_points_of_the_living_is_warned(config: Path) -> None:
    (warning,) = _load(config, "heartbeat.expire = 40\nstop.grace = 10").warnings
    assert warning.startswith("heartbeat.expire is 40s: above 40s")
    assert _load(config, "heartbeat.expire = 41\nstop.grace = 10").warnings == ()


def test_what_is_visible_to_the_daemon_is_what_it_gives_out(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "2,3"}
    assert load(None, environ).gpus == ("2", "3")
    (config := tmp_path / "tuned.toml").write_text("gpus = 1")
    assert load(config, environ).gpus == ("2",)
    config.write_text("gpus = 3")
    with pytest.raises(InvalidInput, match="gpus: found 3, expected at most 2, as CUDA_VISIBLE_DEVICES says"):
        load(config, environ)


# --- secrets ---------------------------------------------------------------------------------------


def test_a_password_in_the_file_is_used_but_never_shown(config: Path) -> None:
    settings = _load(config, f'storage = "{_PASSWORD_URL}"')
    assert "secret" in settings.storage
    assert "secret" not in describe(settings) + repr(settings)


def test_a_password_on_the_command_line_is_refused_with_advice(config: Path) -> None:
    (line,) = _problems(config, "", storage=_PASSWORD_URL)
    assert line.startswith(
        'command line: --storage: found "postgresql://tuned:***@db/tuned", expected no password'
    )
    assert "PGPASSFILE" in line
    assert "secret" not in line
