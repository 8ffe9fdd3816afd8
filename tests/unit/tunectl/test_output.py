"""The form of an error, and of JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuned.errors import InvalidInput, NotFound, Problem
from tuned.tunectl.output import complain, json_text


def test_each_problem_of_an_input_is_a_line_that_names_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [
        Problem(file="a.toml", key=key, found="nothing", expected="a table") for key in ("one", "two")
    ]
    complain(InvalidInput(*problems))
    assert capsys.readouterr().err == (
        "tunectl: a.toml: one: found nothing, expected a table\n"
        "tunectl: a.toml: two: found nothing, expected a table\n"
    )


def test_further_lines_of_an_error_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    complain(NotFound("cannot find it; tried:\nhere\n  there"))
    assert capsys.readouterr().err == "tunectl: cannot find it; tried:\n  here\n  there\n"


@given(st.text())
def test_json_is_printable_and_says_the_same(written: str) -> None:
    text = json_text({written: [written, "\ud800"]})
    assert (text.isprintable(), json.loads(text)) == (True, {written: [written, "\ud800"]})
