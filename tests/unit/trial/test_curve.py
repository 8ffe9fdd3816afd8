"""The curve of intermediate values: what is kept of it, and who hears of it."""

from __future__ import annotations

import json
import math

from tuned.domain.ending import MOST_STEPS
from tuned.trial.curve import Curve, Report


def reported(steps: int) -> Curve:
    curve = Curve()
    for step in range(steps):
        curve.put(step, (step / 2,))
    return curve


def test_steps_are_in_the_order_of_their_first_reports_with_their_last_values() -> None:
    curve = Curve()
    for step, value in ((2, 0.5), (1, 0.25), (2, -math.inf)):
        curve.put(step, (value,))
    assert list(curve.values.items()) == [(2, -math.inf), (1, 0.25)]
    assert (curve.reports, curve.steps) == (3, 2)


def test_every_report_is_heard_also_if_its_step_is_not_new() -> None:
    heard: list[Report] = []
    curve = Curve(heard.append, watched=1)
    curve.put(1, (3.0, 4.0))
    curve.put(1, (3.0, 5.0))
    assert heard == [Report(1, (3.0, 4.0)), Report(1, (3.0, 5.0))]
    assert (curve.values, curve.last) == ({1: 5.0}, heard[-1])


def test_all_steps_are_kept_up_to_the_bound() -> None:
    assert list(reported(MOST_STEPS).kept) == list(range(MOST_STEPS))


def test_of_more_steps_every_second_one_is_kept_and_then_every_fourth() -> None:
    assert list(reported(MOST_STEPS + 1).kept) == list(range(0, MOST_STEPS + 1, 2))
    assert list(reported(3 * MOST_STEPS).kept) == list(range(0, 3 * MOST_STEPS, 4))


def test_the_last_report_is_known_whether_its_step_is_kept_or_not() -> None:
    curve = reported(MOST_STEPS + 2)
    assert MOST_STEPS + 1 not in curve.kept
    assert curve.values[MOST_STEPS + 1] == (MOST_STEPS + 1) / 2
    curve.put(MOST_STEPS + 1, (7.0,))
    assert (curve.values[MOST_STEPS + 1], curve.steps) == (7.0, MOST_STEPS + 2)


def test_a_flood_of_steps_is_bounded() -> None:
    assert len(reported(100 * MOST_STEPS).values) <= MOST_STEPS + 1


def test_another_process_goes_on_with_a_curve_where_it_was() -> None:
    curve, other = reported(MOST_STEPS + 3), Curve()
    other.restore(json.loads(json.dumps(curve.state)))
    for each in (curve, other):
        each.put(MOST_STEPS + 3, (1.0,))
        each.put(MOST_STEPS + 4, (2.0,))
    assert other.state == curve.state
