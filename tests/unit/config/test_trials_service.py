"""The service that runs trials as a user of their own: who that is, and where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.config import trials_service
from tuned.config.loading import load
from tuned.config.trials_service import TrialsService, default_user


def test_a_user_has_a_socket_and_a_home_and_no_user_no_service() -> None:
    found = TrialsService.of("trials")
    assert found is not None
    assert (found.socket, found.home) == (Path("/run/trials.sock"), Path("/var/lib/trials"))
    assert TrialsService.of("") is None


def test_only_a_service_has_one_by_itself_and_only_if_the_user_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = {"STATE_DIRECTORY": "/var/lib/tuned"}
    monkeypatch.setattr(trials_service, "TRIALS_USER", "no-such-user")
    assert default_user(service) == ""
    monkeypatch.setattr(trials_service, "TRIALS_USER", "daemon")
    assert (default_user(service), default_user({})) == ("daemon", "")


def test_a_setting_chooses_another_one_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_service, "TRIALS_USER", "daemon")
    service = {"STATE_DIRECTORY": "/var/lib/tuned", "HOME": str(tmp_path)}
    config = tmp_path / "tuned.toml"
    found = []
    for text in ("", "trials.user = 'nobody'", "trials.user = ''"):
        config.write_text(text)
        found.append(load(config, service).trials_user)
    assert found == ["daemon", "nobody", ""]


def test_gpus_are_looked_for_unless_somebody_names_them(tmp_path: Path) -> None:
    config, environ = tmp_path / "tuned.toml", {"HOME": str(tmp_path)}
    config.write_text("")
    assert load(config, environ).looks_for_gpus
    assert not load(config, {**environ, "CUDA_VISIBLE_DEVICES": "0"}).looks_for_gpus
    config.write_text("gpus = 0")
    assert not load(config, environ).looks_for_gpus
