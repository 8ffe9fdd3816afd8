"""The processes that compute on each GPU, as NVIDIA's library tells: here a made-up one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.nvml import Nvml
from tuned.keeper import cards
from tuned.keeper.cards import Sight, look

INSTALLATION = "made-up"


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nvml:
    nvml = Nvml(tmp_path / "nvml").build()
    monkeypatch.setenv("LD_LIBRARY_PATH", nvml.environment["LD_LIBRARY_PATH"])
    return nvml


def seen() -> Sight:
    return Sight.of(look(INSTALLATION))


def test_a_process_that_is_not_ours_is_named_with_its_card(nvml: Nvml) -> None:
    nvml.say(f"1 {os.getpid()}", "1 999999999")
    first, second = seen().cards
    assert (first.index, first.uuid, first.others) == (0, "GPU-00000000-0000", ())
    assert (second.index, second.others) == (1, (os.getpid(), 999999999))
    assert [second.is_called(name) for name in ("1", "GPU-00000001", "GPU-00000000", "0")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_process_with_our_mark_and_all_below_it_are_ours(nvml: Nvml) -> None:
    script = "env -i sleep 1000 & echo $!; wait"
    marked = {**os.environ, "TUNED_MARK": f"{INSTALLATION}/run"}
    with subprocess.Popen(["sh", "-c", script], env=marked, stdout=subprocess.PIPE, text=True) as ours:
        assert ours.stdout is not None
        child = int(ours.stdout.readline())
        nvml.say(f"0 {ours.pid}", f"0 {child}")
        try:
            assert [card.others for card in seen().cards] == [(), ()]
            assert Sight.of(look("other")).cards[0].others == (ours.pid, child)
        finally:
            os.kill(child, 9)


def test_a_driver_that_hangs_is_left_after_a_while(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "ANSWER_SECONDS", 0.5)
    nvml.say("hang")
    sight = seen()
    assert (sight.problem, sight.is_missing) == ("NVML did not answer within 0.5 s", False)
    nvml.say()


@pytest.mark.parametrize(
    ("word", "problem"), [("crash", "NVML crashed: "), ("driver", "NVML: Driver Not Loaded")]
)
def test_a_driver_that_crashes_or_is_not_loaded_is_told(nvml: Nvml, word: str, problem: str) -> None:
    nvml.say(word)
    assert seen().problem.startswith(problem)


def test_a_card_that_does_not_tell_is_told(nvml: Nvml) -> None:
    nvml.say("unsupported")
    assert {card.problem for card in seen().cards} == {"NVML: Not Supported"}


def test_a_host_without_the_library_says_so() -> None:
    sight = seen()
    assert (sight.cards, sight.is_missing) == ((), True)
    assert sight.problem == "NVML: NVML Shared Library Not Found"
