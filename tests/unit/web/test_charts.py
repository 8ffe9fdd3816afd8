"""Charts hold their numbers, and let no text out of its place."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from tuned.web import charts

HOSTILE = '"><script>alert(1)</script>'


def test_a_scale_places_its_ends_at_the_ends_of_the_picture() -> None:
    scale = charts.scale([2.0, 4.0, math.inf], 100, 0)
    assert (scale(2.0), scale(3.0), scale(4.0)) == (100, 50, 0)


def test_a_range_over_some_powers_of_ten_is_drawn_by_its_logarithm() -> None:
    scale = charts.scale([1e-4, 1.0, 1e4], 0, 100)
    assert (scale(1.0), scale.ticks()) == (50, [1e-4, 1e-2, 1.0, 1e2, 1e4])


@pytest.mark.parametrize(
    ("span", "step"), [(10.0, 2.0), (1.0, 0.2), (0.07, 0.02), (0.0, 1.0), (4900.0, 1000.0)]
)
def test_ticks_stand_at_round_numbers(span: float, step: float) -> None:
    assert charts.nice_step(span) == pytest.approx(step)


def test_a_course_ends_at_the_last_trial() -> None:
    drawn = charts.course([(0, 3.0), (4, 1.0)], 9)
    path = ET.fromstring(drawn).findall(".//path[@class='line c0']")[0].attrib["d"]
    assert path.endswith(f"H{float(charts.WIDTH - 14)}V226.0")


@pytest.mark.parametrize(
    "drawn",
    [
        charts.bars({HOSTILE: 0.5}, HOSTILE),
        charts.scatter([charts.Spot(1.0, 2.0, HOSTILE)], HOSTILE, (HOSTILE, HOSTILE)),
        charts.parallel([charts.Axis(HOSTILE, [0.0], [(0.0, HOSTILE), (1.0, "b")])] * 2, [0.0], HOSTILE),
        charts.curves({1: [(0.0, 1.0), (1.0, math.nan)]}),
    ],
)
def test_a_chart_is_xml_and_no_text_in_it_is_an_element(drawn: str) -> None:
    assert [each for each in ET.fromstring(drawn).iter() if each.tag.endswith("script")] == []


@pytest.mark.parametrize(
    "drawn", [charts.course([], 0), charts.curves({1: []}), charts.bars({}, ""), charts.sparkline([1.0])]
)
def test_nothing_to_show_is_no_chart(drawn: str) -> None:
    assert not drawn
