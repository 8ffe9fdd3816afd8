"""Plots of what the daemon tells."""

from __future__ import annotations

from pathlib import Path

from tests.integration.tunectl.running import COMMAND, run
from tests.small_host import SmallHost, a_trial


def vary(host: SmallHost, trials: int) -> None:
    host.all_trials = [
        a_trial(number, params={"minima_size": 1 + number, "lr": 0.01, "optimizer": "adam"}, values=[number])
        for number in range(trials)
    ]


async def plot(path: Path, *arguments: str) -> tuple[int, str, str]:
    # Optuna and plotly take seconds to be imported on a busy machine.
    return await run([*COMMAND, "plot", *arguments], path, seconds=100)


async def test_all_plots_that_fit_come_into_one_file(host: SmallHost, path: Path, tmp_path: Path) -> None:
    vary(host, 5)
    file = tmp_path / "minima.html"
    assert await plot(path, "minima", "-o", str(file)) == (0, f"minima: {file}\n", "")
    text = file.read_text()
    assert all(f"<h2>{title}</h2>" in text for title in ("History", "Intermediate values", "Timeline"))


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
