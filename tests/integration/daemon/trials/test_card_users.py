"""Cards that others use are not given out, as far as that can be told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nvml import Nvml
from tests.waiting import until_async
from tuned.daemon.gpu_pool import Gpus
from tuned.daemon.trials import card_users
from tuned.daemon.trials.card_users import CardUsers
from tuned.daemon.trials.chores import Here
from tuned.disk.layout import Layout
from tuned.keeper import cards

NAMES = ["0", "GPU-00000001"]


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nvml]:
    nvml = Nvml(tmp_path / "nvml").build()
    monkeypatch.setenv("LD_LIBRARY_PATH", nvml.environment["LD_LIBRARY_PATH"])
    yield nvml
    nvml.say()


def users(home: Path, gpus: Gpus, *, woken: asyncio.Event | None = None) -> CardUsers:
    found = CardUsers(Here(Layout(path=home)), "made-up", gpus, (woken or asyncio.Event()).set)
    found.limit("leave")
    return found


async def test_a_card_that_others_use_is_left_until_they_are_gone(
    nvml: Nvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_users, "LEFT_SECONDS", 0.01)
    gpus, woken = Gpus(NAMES), asyncio.Event()
    nvml.say(f"1 {os.getpid()}")
    asked = users(tmp_path, gpus, woken=woken)
    assert await asked.are_free(["0"])
    assert not await asked.are_free(NAMES)
    await asyncio.wait_for(woken.wait(), 60)
    assert gpus.left == set()
    nvml.say()
    assert await asked.are_free(NAMES)
    assert asked.problem == ""


async def test_questions_at_once_are_one_look_more(nvml: Nvml, tmp_path: Path) -> None:
    asked = users(tmp_path, Gpus(NAMES))
    assert all(await asyncio.gather(*(asked.are_free(["0"]) for _ in range(8))))
    assert nvml.looks <= 2


async def test_nobody_is_asked_if_cards_in_use_are_used_or_none_is_wanted(nvml: Nvml, tmp_path: Path) -> None:
    gpus = Gpus(NAMES)
    asked = users(tmp_path, gpus)
    assert await asked.are_free([])
    asked.limit("use")
    nvml.say(f"0 {os.getpid()}")
    assert await asked.are_free(["0"])
    assert nvml.looks == 0


async def test_a_library_that_is_not_there_is_told_and_the_cards_are_given(tmp_path: Path) -> None:
    asked = users(tmp_path, Gpus(NAMES))
    await asked.look()
    assert asked.problem.endswith("this host's GPUs: NVML: NVML Shared Library Not Found")
    assert [each["code"] for each in asked.findings()] == ["cards-unseen"]
    assert await asked.are_free(NAMES)


async def test_a_driver_that_hangs_holds_up_nobody_else_and_its_cards_are_left(
    nvml: Nvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "ANSWER_SECONDS", 1.0)
    nvml.say("hang")
    asked = users(tmp_path, Gpus(NAMES))
    question = asyncio.create_task(asked.are_free(["0"]))
    await until_async(lambda: nvml.looks == 1, what="a look")
    assert not question.done()
    assert not await question
    assert "did not answer" in asked.problem


async def test_a_card_that_the_library_does_not_know_is_given_and_told(nvml: Nvml, tmp_path: Path) -> None:
    asked = users(tmp_path, Gpus(["MIG-8932f937/1/0"]))
    assert await asked.are_free(["MIG-8932f937/1/0"])
    assert "NVML knows no GPU MIG-8932f937/1/0" in asked.problem
    nvml.say("unsupported")
    assert await asked.are_free(["0"])
    assert "Not Supported (GPU 0)" in asked.problem
