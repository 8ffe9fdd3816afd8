"""Settings as --check-config prints them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tuned.config.described import describe
from tuned.config.loading import load


def test_the_description_is_a_file_that_says_the_same(tmp_path: Path) -> None:
    (config := tmp_path / "tuned.toml").write_text(
        'host = "h"\ngpus = ["1", "MIG-8932f937/1/0"]\ntrials.user = "trials"\n'
        'work.hours = "Sat 22:00-07:00"\n'
        'spool = "/ü \\u007f\\"x"\nstop.grace = 0.5\ncontrol.mode = "0600"'
    )
    settings = load(config, {"HOME": str(tmp_path)})
    config.write_text(describe(settings))
    assert load(config, {"HOME": str(tmp_path)}) == settings


def test_the_description_begins_with_what_was_read_and_warned(tmp_path: Path) -> None:
    (config := tmp_path / "tuned.toml").write_text("heartbeat.expire = 20")
    text = describe(load(config, {"HOME": str(tmp_path)}))
    assert text.startswith(f"# read: {config}\n# warning: heartbeat.expire is 20s")
    assert tomllib.loads(text)["heartbeat"] == {"interval": "10s", "expire": "20s"}
