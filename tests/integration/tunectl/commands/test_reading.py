"""Commands that read: for people, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.tunectl.running import tunectl
from tests.small_host import SmallHost, a_trial


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status"], "minima"),
        (["list"], "44/100"),
        (["show", "minima"], "44 of 100 trials"),
        (["trials", "minima", "-n", "3"], "247"),
        (["best", "minima"], "0.9731"),
        (["best", "minima", "-n", "2"], "PARAMETERS"),
        (["hosts"], "beta   stopped"),
        (["explain", "minima", "7"], "drawn by the sampler (tpe)"),
        (["logs", "minima", "3"], "epoch 2"),
    ],
)
async def test_reading_commands_print_for_people_and_for_machines(
    path: Path, arguments: list[str], expected: str
) -> None:
    status, out, err = await tunectl(path, *arguments)
    assert (status, err, expected in out) == (0, "", True)
    assert "\x1b" not in out
    assert "…" not in out
    status, out, _ = await tunectl(path, *arguments, "--json")
    lines = out.splitlines() if arguments[0] == "logs" else [out]
    assert all(isinstance(json.loads(line), dict) for line in lines)


async def test_the_best_of_an_experiment_without_a_value_is_an_error(host: SmallHost, path: Path) -> None:
    nearest, host.summary["best"] = host.summary["best"], None
    said = "tunectl: cannot show the best trial of minima: it has no value yet\n"
    assert await tunectl(path, "best", "minima") == (1, "", said)
    status, out, _ = await tunectl(path, "best", "minima", "--json")
    assert (status, json.loads(out)) == (1, {"best": [], "nearest": None})
    host.summary["nearest"] = nearest
    status, out, err = await tunectl(path, "best", "minima")
    assert (status, out.splitlines()[0], err) == (1, "No trial is feasible. The nearest one:", "")
    status, out, _ = await tunectl(path, "best", "minima", "--json")
    assert (status, json.loads(out)) == (1, {"best": [], "nearest": nearest})


async def test_trials_by_value_end_with_the_best(host: SmallHost, path: Path) -> None:
    host.all_trials = [a_trial(number, values=[value]) for number, value in enumerate([0.5, 0.1, 0.3])]
    _, out, _ = await tunectl(path, "trials", "minima", "--sort", "value", "-n", "2")
    assert [line.split()[0] for line in out.splitlines()] == ["TRIAL", "2", "1"]
    assert (await tunectl(path, "trials", "minima", "--sort", "value", "--all"))[0] == 2


@pytest.mark.usefixtures("host")
async def test_all_trials_are_read_page_by_page(path: Path) -> None:
    _, out, _ = await tunectl(path, "trials", "minima", "--all", "--json")
    assert [trial["number"] for trial in json.loads(out)["trials"]] == list(range(250))
