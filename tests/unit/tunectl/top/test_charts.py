"""The best so far as bars."""

from __future__ import annotations

import pytest

from tuned.protocol.trials import ImprovementView
from tuned.tunectl.top.charts import chart, sparkline


def course(*pairs: tuple[int, float]) -> list[ImprovementView]:
    return [{"number": number, "value": value} for number, value in pairs]


@pytest.mark.parametrize(
    ("found", "last", "expected"),
    [
        (course((0, 4.0), (5, 2.0), (9, 0.0)), 9, "█████▅▅▅▅▁"),
        (course((5, 1.0), (8, 2.0)), 9, "     ▁▁▁██"),
        (course((0, 1.0)), 0, "▁▁▁▁▁▁▁▁▁▁"),
        # The newest number is known before the count that it is part of.
        (course((0, 1.0), (12, 2.0)), 9, "▁▁▁▁▁▁▁▁▁█"),
        (course((0, -1.7e308), (5, 1.7e308)), 9, "▁▁▁▁▁█████"),
        ([], 9, ""),
    ],
)
def test_a_sparkline_has_a_bar_for_each_part_of_the_trials(
    found: list[ImprovementView], last: int, expected: str
) -> None:
    assert sparkline(found, last, 10, is_ascii=False) == expected


def test_a_chart_has_several_lines_of_bars() -> None:
    found = course((0, 3.0), (3, 1.5), (6, 0.0))
    assert chart(found, 9, 10, 2, is_ascii=False) == ["███▁▁▁", "██████▁▁▁▁"]
    assert chart(found, 9, 10, 2, is_ascii=True) == ["###", "##########"]
    assert sparkline(found, 9, 10, is_ascii=True) == "###===____"
    assert chart([], 9, 10, 2, is_ascii=True) == []
