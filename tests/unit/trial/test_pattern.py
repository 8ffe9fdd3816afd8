"""A pattern on lines of output: what it finds, and what it must not take for a number."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from tuned.experiment.file import Metric
from tuned.trial.pattern import Pattern, reading_floats

ROOT = Path(__file__).parents[3]

DIGITS = "acc[=:] *(?P<value>[0-9.]+)"


def found(line: str, pattern: str = DIGITS) -> list[float | str]:
    """Values, and problems of those that are none."""
    return [m.problem if m.value is None else m.value for m in Pattern(pattern).matches(line)]


def test_each_match_is_found_with_its_step() -> None:
    pattern = Pattern(r"epoch +(?P<step>\d+) (?P<value>\S+)")
    matches = list(pattern.matches("epoch  1 0.5, epoch 2 0.25"))
    assert [(each.step, each.value) for each in matches] == [("1", None), ("2", 0.25)]
    assert matches[0].problem == "the pattern found '0.5,', expected a number"


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("9.9e-01", "9.9"),
        ("1e-05", "1"),
        ("1E5", "1"),
        ("1,234.5", "1"),
        ("12,345,678", "12"),
        ("1_000", "1"),
        ("1.5D-03", "1.5"),
    ],
)
def test_a_number_that_goes_on_behind_the_group_is_told_with_the_pattern(written: str, part: str) -> None:
    expected = f"the pattern {DIGITS!r} found {part}, which is only a part of the number {written}"
    assert found(f"acc={written} (best)") == [expected]


@pytest.mark.parametrize(
    ("line", "pattern", "whole"),
    [
        ("acc 12.5", r"acc.*(?P<value>\d+\.\d+)", "12.5"),
        ("acc 12.5", r"acc.*(?P<value>\d+)", "12.5"),
        ("acc: -0.5", r"acc: -?(?P<value>[0-9.]+)", "-0.5"),
        ("acc 1e-05", r"acc.*-(?P<value>\d+)", "1e-05"),
    ],
)
def test_a_number_that_began_before_the_group_is_told(line: str, pattern: str, whole: str) -> None:
    [problem] = found(line, pattern)
    assert str(problem).endswith(f"only a part of the number {whole}")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("acc=0.5e", 0.5),
        ("acc=0.5, 0.25", 0.5),
        ("acc=3,4", 3.0),
        ("acc=97%", 97.0),
        ("acc=0.5 e-3", 0.5),
        ("acc=5/10", 5.0),
        ("acc=5-6", 5.0),
        ("acc=0.5inside", 0.5),
    ],
)
def test_a_number_with_something_else_behind_it_is_whole(line: str, value: float) -> None:
    assert found(line) == [value]


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("acc.......0.5", r"acc\.+(?P<value>[0-9.]+)"),
        ("epoch-5", r"epoch-(?P<value>\d)"),
        ("version 1.2.5", r"\.(?P<value>\d)$"),
        ("2024-01-5", r"-(?P<value>\d)$"),
        ("top5", r"top(?P<value>\d)"),
        ("1:5", r":(?P<value>\d)"),
    ],
)
def test_a_number_with_something_else_before_it_is_whole(line: str, pattern: str) -> None:
    assert found(line, pattern) in ([0.5], [5.0])


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "inf", "-Infinity"])
def test_a_value_that_is_not_finite_counts_as_a_match_of_a_pattern_that_finds_numbers(word: str) -> None:
    pattern = Pattern(DIGITS)
    assert [each.value for each in pattern.matches("acc=0.25")] == [0.25]
    [match] = pattern.matches(f"nan acc={word}, lr=nan")
    assert str(match.value) == str(float(word))


def test_a_step_whose_value_is_not_finite_has_it() -> None:
    pattern = Pattern(r"epoch (?P<step>\d+) loss (?P<value>[0-9.]+)$")
    [_, match] = [each for line in ("epoch 1 loss 0.5", "epoch 2 loss nan") for each in pattern.matches(line)]
    assert (match.step, math.isnan(match.value or 0)) == ("2", True)


@pytest.mark.parametrize("line", ["acc=0.5 lr=nan", "nan acc=0.5", "banana", "acc=infinite", "nan"])
def test_a_word_that_stands_elsewhere_is_no_match(line: str) -> None:
    pattern = Pattern(DIGITS)
    assert [each.value for each in pattern.matches("acc=0.5")] == [0.5]
    assert [each.value for each in pattern.matches(line)] == [0.5] * line.count("acc=0")


@pytest.mark.parametrize(
    "pattern",
    [
        "acc=(?P<value>[0-9.]+)",
        r"(epoch)? acc=(?<value>([])\](]|\(|\d)+) (x)",
        "acc=(?P<value>[^]0-9]*(a|(b)))$",
    ],
)
def test_the_pattern_to_write_has_another_group_and_the_rest_as_it_was(pattern: str) -> None:
    better = reading_floats(pattern)
    re2.compile(better)
    before, _, after = better.partition(r"[-+.\w]+")
    assert pattern.startswith(before)
    assert pattern.endswith(after)
    assert after in {")", ") (x)", ")$"}


def examples() -> list[str]:
    """The pattern of the schema, and the one of the reference."""
    described = Metric.model_json_schema()["properties"]["pattern"]["description"]
    documented = (ROOT / "docs" / "reference" / "trials.md").read_text()
    found = [*re.findall(r"e\.g\. '(.*?)'", described), *re.findall(r"(?m)^pattern = '(.*)'", documented)]
    assert len(found) == 2
    return found


@pytest.mark.parametrize(
    ("pattern", "line"), [*zip(examples(), ["accuracy=", "epoch 1 val_loss="], strict=True)]
)
@pytest.mark.parametrize("value", ["9.9e-01", "1E+3", "-0.5", ".5", "nan", "-inf", "Infinity"])
def test_an_example_for_people_reads_every_float(pattern: str, line: str, value: str) -> None:
    assert str(found(f"{line}{value}, done", pattern)) == str([float(value)])


@settings(deadline=None)
@given(st.floats())
def test_the_pattern_to_write_reads_every_float(value: float) -> None:
    [match] = Pattern(reading_floats(DIGITS)).matches(f"epoch 3: acc={value!r}, best {value!r}")
    assert repr(match.value) == repr(value)


def test_a_line_full_of_matches_takes_no_longer_than_it_has_matches() -> None:
    began = time.monotonic()
    assert len(found("1" * 20_000, r"(?P<value>\d)")) == 20_000
    assert time.monotonic() - began < 20
