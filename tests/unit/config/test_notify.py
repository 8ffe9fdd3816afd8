"""The values of a table [notify], of which no error and no reader sees the secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.config.described import describe
from tuned.config.loading import load
from tuned.config.notify import shown_command, shown_url
from tuned.domain.news.notices import NO_WISHES, Wishes
from tuned.errors import InvalidInput

URL = "https://example.org:8443/services/T0/hush?k=hush"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('on = "done"', 'notify.on: found "done", expected an array of "done", "failed" and "better"'),
        ('on = ["over"]', 'notify.on: found an array with "over", expected an array of "done"'),
        ('command = "curl hush"', "notify.command: found a string, expected a program and its arguments"),
        ("command = []", "notify.command: found an empty array"),
        ('url = "example.org/hush"', "notify.url: found one that begins with neither https:// nor http://"),
        ('url = "https:///hush"', "notify.url: found one without a host"),
        ('url = "https://e/hush hush"', "notify.url: found one with a space or a control character"),
        ('url = "https://e:x/hush"', "notify.url: found one that cannot be read"),
        (f'url = "https://e/{"hush" * 500}"', "notify.url: found one of 2010 characters"),
        (f'url = "{URL}"\ncommand = ["hush"]', "expected either notify.command or notify.url"),
    ],
)
def test_a_wrong_value_is_told_without_its_secret(tmp_path: Path, keys: str, problem: str) -> None:
    (config := tmp_path / "tuned.toml").write_text(f"[notify]\n{keys}\n")
    with pytest.raises(InvalidInput) as caught:
        load(config, {"HOME": str(tmp_path)})
    assert problem in str(caught.value)
    assert "hush" not in str(caught.value)


def test_settings_tell_by_the_one_way_that_they_name(tmp_path: Path) -> None:
    (config := tmp_path / "tuned.toml").write_text(f'[notify]\non = ["better", "done"]\nurl = "{URL}"\n')
    settings = load(config, {"HOME": str(tmp_path)})
    assert settings.wishes == Wishes(on=frozenset({"done", "better"}), url=URL)
    assert "hush" not in describe(settings) + repr(settings)
    config.write_text('[notify]\non = ["done"]\n')
    assert load(config, {"HOME": str(tmp_path)}).wishes == NO_WISHES


def test_only_the_host_of_an_address_and_the_program_of_a_command_are_shown() -> None:
    assert shown_url(URL) == "https://example.org:8443/…"
    assert shown_url("http://user:hush@[::1]/x") == "http://[::1]/…"
    assert shown_command(("curl", "--data", "hush")) == ("curl", "…")
    assert shown_command(("/srv/tell",)) == ("/srv/tell",)
