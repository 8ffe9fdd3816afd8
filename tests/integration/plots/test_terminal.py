"""Plots as text."""

from __future__ import annotations

import pytest

from tests.integration.plots.studies import searched
from tuned.errors import TunedError
from tuned.plots.terminal import Screen, text
from tuned.protocol.plots import TERMINAL_KINDS, PlotKind

SCREEN = Screen(columns=80, is_ascii=False)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("kind", TERMINAL_KINDS)
def test_no_line_is_wider_than_the_terminal(kind: PlotKind, columns: int) -> None:
    study = searched(9, objectives=2 if kind == "front" else 1)
    lines = text(study, [kind], Screen(columns=columns, is_ascii=False)).splitlines()
    assert max(map(len, lines)) <= columns
    assert any("⠁" <= letter <= "⣿" for line in lines for letter in line)


def test_each_objective_is_named_if_there_are_several() -> None:
    shown = text(searched(9, objectives=2), ["slice"], SCREEN)
    assert [f"value {number} by x" in shown for number in range(2)] == [True, True]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert text(searched(9), ["history", "intermediate"], Screen(columns=80, is_ascii=True)).isascii()


def test_a_plot_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TunedError, match=r"^front: found 1, expected two or three objectives$"):
        text(searched(3), ["front"], SCREEN)
