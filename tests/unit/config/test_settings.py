"""The settings and their keys."""

from __future__ import annotations

from tuned.config.settings import setting_keys, setting_types


def test_each_key_stands_once_and_has_a_type() -> None:
    names = [key.name for key in setting_keys().values()]
    assert len(set(names)) == len(names)
    assert setting_keys().keys() == setting_types().keys()


def test_a_setting_whose_default_is_the_machines_says_so() -> None:
    assert setting_keys()["slots"].default.startswith("the CPUs that the daemon may use")
