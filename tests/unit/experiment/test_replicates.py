"""The table [replicates]."""

from __future__ import annotations

import pytest

from tests.unit.experiment.sources import read, told, with_parts

_REFUSED = {
    "none": ("count = 0", "replicates.count: found 0, expected at least 1"),
    "too many": ("count = 1001", "replicates.count: found 1001, expected at most 1000"),
    "no integer": ("count = 2.5", "replicates.count: found 2.5, expected an integer"),
    "no word": (
        'count = 2\nreduce = "sum"',
        'replicates.reduce: found "sum", expected "mean", "median", "min" or "max"',
    ),
}


@pytest.mark.parametrize(("table", "line"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_told_in_one_line(table: str, line: str) -> None:
    assert told(with_parts(retry=f"[replicates]\n{table}")) == [f"x.toml: {line}"]


def test_a_rule_that_waits_for_a_better_curve_is_refused_beside_replicates() -> None:
    rule = '[pruner]\nname = "patient"\npatience = 3\n'
    assert read(with_parts(retry=f"{rule}[replicates]\ncount = 1")).replicates.count == 1
    [line] = told(with_parts(retry=f"{rule}[replicates]\ncount = 5"))
    assert line.startswith('x.toml: pruner.name: found "patient" with [replicates], expected another pruner')
