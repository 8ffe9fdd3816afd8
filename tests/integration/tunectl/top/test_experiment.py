"""The screen of one experiment, letter by letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.tunectl.top.made import opened
from tests.integration.tunectl.top.test_overview import SIZES
from tuned.tunectl.top.experiment import range_text


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_an_experiment_as_a_person_sees_it(path: Path, size: tuple[int, int]) -> None:
    async with opened(path, size) as screen:
        await screen.until("beta")
        await screen.press("enter")
        await screen.until("PARAMETER")
        screen.must_be("experiment")


async def test_an_experiment_without_trials_says_so(path: Path, host: object) -> None:
    host.all_trials = []  # type: ignore[attr-defined]
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.press("enter")
        await screen.until("none yet")


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"low": 1, "high": 9, "step": 2}, "1 to 9, step 2"),
        ({"low": 0.001, "high": 1.0, "log": True}, "0.001 to 1, log"),
        ({"choices": ["a", True], "when": "x > 1"}, "a, True, when x > 1"),
    ],
)
def test_a_range_is_told_in_words(parameter: dict[str, object], expected: str) -> None:
    assert range_text(parameter) == expected
