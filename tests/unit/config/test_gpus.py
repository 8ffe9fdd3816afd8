"""The GPUs of a host: which there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.config.gpus import find


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        ("0,1", ("0", "1")),
        (" 3 , GPU-8932f937", ("3", "GPU-8932f937")),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", ("0",)),
        ("NoDevFiles", ()),
        ("1,1", ("1",)),
    ],
)
def test_what_the_daemon_may_see_is_what_there_is(visible: str, ids: tuple[str, ...]) -> None:
    assert find("auto", {"CUDA_VISIBLE_DEVICES": visible}) == ids


def test_without_a_word_the_devices_are_counted(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "nvidia0x", "null"):
        (tmp_path / name).touch()
    assert find("auto", {}, tmp_path) == ("0", "2", "10")
    assert find("auto", {}, tmp_path / "none") == ()


def test_a_number_is_of_the_first_and_ids_are_taken_as_they_are() -> None:
    assert find(2, {}) == ("0", "1")
    assert find(2, {"CUDA_VISIBLE_DEVICES": "5,6,7"}) == ("5", "6")
    assert find(("7", "8"), {"CUDA_VISIBLE_DEVICES": "5"}) == ("7", "8")
