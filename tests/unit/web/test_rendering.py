"""Texts of pages: escaped, and short enough to be read."""

from __future__ import annotations

import pytest

from tuned.web import rendering


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "–"), (0.25, "0.2 s"), (61, "1 min 1 s"), (3720, "1 h 2 min"), (90000, "1 d 1 h")],
)
def test_a_span_has_two_units_at_most(seconds: float | None, expected: str) -> None:
    assert rendering.span(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1234567, "0.123457"), (True, "True"), (10**9, "1000000000")]
)
def test_a_number_is_short_and_a_whole_one_is_whole(value: object, expected: str) -> None:
    assert rendering.number(value) == expected


def test_many_parameters_are_cut() -> None:
    assert len(rendering.params({f"parameter{n}": n for n in range(100)})) == 200


def test_a_template_escapes_what_it_is_given() -> None:
    assert "<script>" not in rendering.render("problem.html", message="<script>")


def test_a_host_says_on_what_it_does_not_work_and_why() -> None:
    row = {"name": "alpha", "state": "running", "slots": 2, "running": 0, "gpus": 0, "labels": []}
    host = {**row, "version": "1", "unreadable": "", "resting": ["exp: <no> such file"]}
    assert "rests, exp: &lt;no&gt; such file" in rendering.render("hosts.html", hosts=[host])


def test_an_address_has_no_slash_of_a_name() -> None:
    assert rendering.path_of("a/../b?", 3) == "/experiments/a%2F..%2Fb%3F/trials/3"
