"""Plots of what the daemon tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.tunectl.running import COMMAND, run
from tests.small_host import SmallHost, a_trial
from tuned.protocol.fields import Params


def vary(host: SmallHost, trials: int) -> None:
    def params(number: int) -> Params:
        return {"minima_size": 1 + number % 64, "lr": 0.01, "optimizer": "adam"}

    host.all_trials = [a_trial(number, params=params(number), values=[number]) for number in range(trials)]


async def plot(path: Path, *arguments: str) -> tuple[int, str, str]:
    # Optuna and plotly take seconds to be imported on a busy machine.
    return await run([*COMMAND, "plot", *arguments], path, seconds=100)


async def test_all_plots_that_fit_come_into_one_file(host: SmallHost, path: Path, tmp_path: Path) -> None:
    vary(host, 5)
    file = tmp_path / "minima.html"
    assert await plot(path, "minima", "-o", str(file)) == (0, f"minima: {file}\n", "")
    text = file.read_text()
    assert all(f"<h2>{title}</h2>" in text for title in ("History", "Intermediate values", "Timeline"))


@pytest.mark.parametrize(("trials", "curves"), [(3, range(3)), (250, range(50, 250))])
async def test_the_newest_200_trials_have_their_curves(
    host: SmallHost, path: Path, tmp_path: Path, trials: int, curves: range
) -> None:
    vary(host, trials)
    file = tmp_path / "minima.html"
    status, _, err = await plot(path, "minima", "--kind", "intermediate", "-o", str(file))
    assert (status, err) == (0, "")
    assert {int(number) for number in re.findall(r'"name":"Trial(\d+)"', file.read_text())} == set(curves)


async def test_a_terminal_gets_the_history(host: SmallHost, path: Path) -> None:
    vary(host, 5)
    status, out, err = await plot(path, "minima", "--terminal")
    assert (status, err, out.splitlines()[0].strip()) == (
        0, "", "value of each trial, and the best so far"
    )  # fmt: skip


async def test_a_plot_that_does_not_fit_is_one_line(host: SmallHost, path: Path) -> None:
    vary(host, 1)
    status, out, err = await plot(path, "minima", "--terminal", "--kind", "front")
    assert (status, out) == (1, "")
    assert err == "tunectl: cannot plot minima: front: found 1, expected two or three objectives\n"


async def test_a_terminal_shows_only_some_kinds(path: Path) -> None:
    status, _, err = await plot(path, "minima", "--terminal", "--kind", "contour")
    assert status == 2
    assert "found --kind contour, expected one that a terminal shows: history, slice, front" in err
