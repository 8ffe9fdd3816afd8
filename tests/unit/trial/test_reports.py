"""How a trial gives its value on standard output."""

from __future__ import annotations

import json
import math

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuned.domain.attributes import LINE_BYTES
from tuned.domain.ending import MOST_STEPS, Cause, Failure
from tuned.trial.curve import Curve
from tuned.trial.notes import MOST_ATTRIBUTES
from tuned.trial.reports import Reports

RESULT = '{"value": 7}'


def read(*lines: str, objectives: int = 1, pattern: str | None = None) -> tuple[float, ...] | Failure:
    reports = Reports(objectives, pattern)
    reports.feed("".join(f"{line}\n" for line in lines).encode())
    return reports.finish()


def problem(*lines: str, objectives: int = 1, pattern: str | None = None) -> str:
    outcome = read(*lines, objectives=objectives, pattern=pattern)
    assert isinstance(outcome, Failure), outcome
    assert outcome.cause is Cause.NO_VALUE
    return outcome.message


# Results


@pytest.mark.parametrize(
    "line",
    ['{"value": 0.5}', '{"values": [0.5]}', ' {"value": 5e-1, "loss": "x"} ', '{"value":0.5}\r'],
)
def test_a_json_object_with_a_value_is_the_result(line: str) -> None:
    assert read(line, "done") == (0.5,)


@pytest.mark.parametrize("number", ["0.5", "+.5", "5e-1", " 0.5 ", "0.50", "5.E-1"])
def test_a_last_line_that_is_a_bare_number_is_the_result(number: str) -> None:
    assert read("epoch 1", number) == (0.5,)
    assert read("epoch 1", number, "", "  ") == (0.5,)


def test_a_number_before_the_last_line_is_no_result() -> None:
    assert problem("0.5", "done") == "no value on standard output; the last line was 'done'"


@pytest.mark.parametrize("line", ["0x10", "1_000", "1,5", "0.5 s", "value 0.5", "0.5.", "e5", "1e", "--1"])
def test_what_is_no_number_is_no_result(line: str) -> None:
    assert problem(line).startswith("no value on standard output")


def test_the_last_result_line_wins() -> None:
    assert read('{"value": 1}', '{"value": 2}', "bye") == (2.0,)
    assert read('{"value": 1}', "3") == (3.0,)
    assert read("3", '{"value": 1}') == (1.0,)


def test_a_later_result_that_is_wrong_is_not_hidden_by_an_earlier_one() -> None:
    assert "found ['high'], expected numbers" in problem('{"value": 1}', '{"value": "high"}')


def test_a_last_line_without_its_end_counts() -> None:
    reports = Reports(1, None)
    reports.feed(b"hello\n0.25")
    assert reports.finish() == (0.25,)


def test_nothing_printed_is_said() -> None:
    assert problem() == "no value on standard output; nothing was printed there"


@pytest.mark.parametrize(
    "line",
    ['{"accuracy": 0.5}', '[{"value": 1}]', '{"value": 1', 'log: {"value": 1}', '"value"', '{"a": "value"}'],
)
def test_lines_that_are_no_reports_are_passed_over(line: str) -> None:
    assert read(RESULT, line) == (7.0,)


@pytest.mark.parametrize("value", ["null", "true", '"0.5"', "[1]", "{}", "1" + "0" * 400])
def test_a_value_that_is_no_number_is_told(value: str) -> None:
    assert "expected numbers" in problem(f'{{"value": {value}}}')


# Special numbers


@pytest.mark.parametrize("line", ["nan", "NaN", '{"value": NaN}', '{"step": 1, "value": NaN}'])
def test_nan_is_no_value(line: str) -> None:
    assert problem(line).startswith("the value is NaN")


@pytest.mark.parametrize("line", ["inf", "Infinity", '{"value": Infinity}', '{"value": 1e999}'])
def test_infinity_is_a_value(line: str) -> None:
    assert read(line) == (math.inf,)


def test_minus_infinity_is_a_value() -> None:
    assert read("-inf") == read('{"value": -Infinity}') == (-math.inf,)


def test_one_nan_among_several_values_is_no_value() -> None:
    assert problem('{"values": [1, NaN]}', objectives=2).startswith("the value is NaN")


# Intermediate values


def test_with_a_step_it_is_an_intermediate_value() -> None:
    reports = Reports(1, None)
    reports.feed(b'{"step": 2, "value": 0.5}\n{"step": 1, "value": 0.25}\n{"value": 9}\n')
    assert list(reports.intermediate.items()) == [(2, 0.5), (1, 0.25)]
    assert reports.finish() == (9.0,)


def test_without_a_result_the_last_intermediate_value_counts() -> None:
    assert read('{"step": 9, "value": 1}', '{"step": 3, "value": 2}', "bye") == (2.0,)


def test_a_result_wins_over_later_intermediate_values() -> None:
    assert read('{"value": 1}', '{"step": 3, "value": 2}') == (1.0,)


def test_a_step_that_is_null_is_none() -> None:
    assert read('{"value": 1, "step": null}', '{"step": 3, "value": 2}') == (1.0,)


def test_a_step_that_is_reported_again_has_its_last_value() -> None:
    reports = Reports(1, None)
    reports.feed(b'{"step": 1, "value": 1}\n{"step": 1, "value": 2}\n')
    assert reports.intermediate == {1: 2.0}


@pytest.mark.parametrize("step", ["-1", "1.5", "true", '"one"', "2147483648", "[]"])
def test_a_step_that_is_none_is_told(step: str) -> None:
    assert "expected an integer from 0" in problem(f'{{"step": {step}, "value": 1}}')


def test_a_trial_that_reports_without_end_stays_small() -> None:
    reports = Reports(1, None)
    for step in range(MOST_STEPS + 10):
        reports.feed(b'{"step": %d, "value": 1}\n' % step)
    assert len(reports.intermediate) <= MOST_STEPS


# Several objectives


def test_several_objectives_take_values() -> None:
    assert read('{"values": [1, 2.5]}', objectives=2) == (1.0, 2.5)
    assert read('{"step": 1, "values": [3, 4]}', objectives=2) == (3.0, 4.0)


@pytest.mark.parametrize("line", [RESULT, '{"values": [1]}', '{"values": [1, 2, 3]}', '{"values": []}'])
def test_another_number_of_values_than_of_objectives_is_told(line: str) -> None:
    assert "expected 2;" in problem(line, objectives=2)


def test_a_bare_number_is_no_result_of_several_objectives() -> None:
    assert problem("0.5", objectives=2).startswith("no value on standard output")


def test_of_several_objectives_the_watched_one_has_intermediate_values() -> None:
    for watched, value in enumerate([3.0, 4.0]):
        reports = Reports(2, None, Curve(watched=watched))
        reports.feed(b'{"step": 1, "values": [3, 4]}\n{"step": 2, "value": 5}\n')
        assert reports.intermediate == {1: value}


# Patterns

LOSS = r"loss[:=] *(?P<value>\S+)"
STEPS = r"epoch (?P<step>\d+) loss (?P<value>\S+)"


def test_a_pattern_finds_the_value_anywhere_in_a_line_and_the_last_wins() -> None:
    assert read("a loss: 0.5 b", "loss=0.25, loss=0.125", "bye", pattern=LOSS) == (0.125,)


def test_a_pattern_with_a_step_finds_intermediate_values() -> None:
    reports = Reports(1, STEPS)
    reports.feed(b"epoch 1 loss 4\nepoch 2 loss 3\n")
    assert reports.intermediate == {1: 4.0, 2: 3.0}
    assert reports.finish() == (3.0,)


def test_without_a_step_the_matches_of_a_pattern_are_numbered() -> None:
    reports = Reports(1, LOSS)
    reports.feed(b"loss: 3\nloss: high\nloss: 1 loss: 0.5\n")
    assert reports.intermediate == {0: 3.0, 2: 1.0, 3: 0.5}
    assert reports.finish() == (0.5,)


def test_with_a_pattern_neither_json_nor_bare_numbers_are_looked_for() -> None:
    assert problem(RESULT, "0.5", pattern=LOSS).startswith("no value on standard output")
    assert read("loss: 1", RESULT, "0.5", pattern=LOSS) == (1.0,)


def test_what_a_pattern_finds_must_be_a_number() -> None:
    assert "the pattern found 'high', expected a number" in problem("loss: high", pattern=LOSS)


def test_a_match_that_is_nan_is_the_last_match_whether_the_pattern_reads_it_or_not() -> None:
    assert problem("loss: 1", "loss: nan", pattern=LOSS).startswith("the value is NaN")
    assert problem("loss: 1", "loss: nan", pattern="loss: (?P<value>[0-9.]+)").startswith("the value is NaN")


def test_a_part_of_a_number_is_no_value() -> None:
    expected = "the pattern 'acc=(?P<value>[0-9.]+)' found 9.9, which is only a part of the number 9.9e-01"
    assert problem("acc=9.9e-01", pattern="acc=(?P<value>[0-9.]+)").startswith(expected)
    assert read("acc=9.9e-01", "acc=0.5", pattern="acc=(?P<value>[0-9.]+)") == (0.5,)


def test_a_pattern_reads_lines_that_are_no_utf8() -> None:
    reports = Reports(1, LOSS)
    reports.feed(b"\xff\xfe loss: 2 \xff\n")
    assert reports.finish() == (2.0,)


def test_a_pattern_that_would_hang_others_is_linear() -> None:
    assert "no value" in problem("a" * LINE_BYTES, pattern=r"(a+)+(?P<value>b)")


# Lines and chunks


BAR = "".join(f"\r{step:6} loss={5 - step * 0.002:.4f} lr=1e-03 it/s" for step in range(2000))


def test_of_a_line_that_is_redrawn_the_last_state_counts_however_long_the_line_is() -> None:
    assert len(BAR) > LINE_BYTES
    assert read(BAR, pattern="loss=(?P<value>[0-9.]+)") == (1.002,)
    assert read(f"{BAR}\r0.5") == (0.5,)


def test_each_state_of_a_line_that_is_redrawn_may_be_an_intermediate_value() -> None:
    reports = Reports(1, r"^ *(?P<step>\d+) loss=(?P<value>\S+) .*it/s$")
    reports.feed(BAR.encode())
    assert len(reports.intermediate) == 1999, "all that were redrawn"


def test_a_bar_on_the_same_line_hides_no_report() -> None:
    wiped = "\r 50%|##  |\r" + " " * 20 + "\r"
    assert read(f"{wiped}0.5") == (0.5,)
    assert read(f"0.5\n{wiped}") == (0.5,)
    assert read(f'{wiped}{{"step": 1, "value": 4}}', f'{wiped}{{"step": 2, "value": 3}}') == (3.0,)
    assert read(f"{wiped}loss: 2", pattern="^loss: (?P<value>.*)$") == (2.0,)


def test_a_number_that_was_drawn_over_is_not_the_last_line() -> None:
    assert problem("0.5\rdone").startswith("no value on standard output; the last line was 'done'")


def test_lines_of_another_system_end_before_their_return() -> None:
    assert read("loss: 2\r", "0.5\r", pattern="^loss: (?P<value>.*)$") == (2.0,)
    assert read("epoch 1\r", "0.5\r") == (0.5,)


def test_a_report_that_is_longer_than_a_line_is_no_report() -> None:
    long = json.dumps({"value": 1, "notes": "x" * LINE_BYTES})
    assert "no value" in problem(long)
    assert read(RESULT, long) == (7.0,)


PIECES = st.lists(
    st.sampled_from(
        [
            b"\n",
            b"\r\n",
            b"\r",
            b" ",
            b"0.5",
            b"nan",
            b"x" * 70_000,
            b'{"value": 1}',
            b'{"step": 3, "value": 2}',
        ]
    )
    | st.binary(max_size=8),
    max_size=12,
)


@settings(deadline=None)
@given(PIECES, st.lists(st.integers(1, 80_000), max_size=8))
@example([b"x" * 70_000, b"\n0.5"], [65_536, 1, 4463])
def test_how_the_output_is_cut_into_chunks_changes_nothing(pieces: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(pieces)
    at_once, chunked = Reports(1, None), Reports(1, None)
    at_once.feed(whole)
    start = 0
    for size in [*sizes, len(whole)]:
        chunked.feed(whole[start : start + size])
        start += size
    assert chunked.finish() == at_once.finish()
    assert chunked.intermediate == at_once.intermediate


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "5", "\0"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["value", "values", "step", "constraints"]), JSON), st.integers(1, 2))
@example({"value": 10**4000}, 1)
def test_whatever_a_report_holds_it_is_values_or_a_failure(document: object, objectives: int) -> None:
    outcome = read(json.dumps(document), objectives=objectives)
    assert isinstance(outcome, Failure) or len(outcome) == objectives


@pytest.mark.parametrize("depth", [50, 500, 900, 5_000, 30_000])
def test_no_nesting_is_too_deep(depth: int) -> None:
    assert isinstance(read(f'{{"value": {"[" * depth}{"]" * depth}}}'), Failure)


@settings(deadline=None)
@given(st.floats(allow_nan=False))
def test_a_float_comes_through_unchanged(value: float) -> None:
    assert read(repr(value)) == read(json.dumps({"value": value})) == (value,)


# User attributes


def attributes(*lines: str) -> tuple[dict[str, object], list[str]]:
    """Those that are kept, and why others are not."""
    with structlog.testing.capture_logs() as logs:
        reports = Reports(1, None)
        reports.feed("".join(f"{line}\n" for line in lines).encode())
    found = {name: json.loads(value) for name, value in reports.user_attrs.items()}
    return found, [log["reason"] for log in logs]


def test_user_attributes_are_kept_and_the_last_of_a_name_wins() -> None:
    lines = [
        '{"user_attrs": {"a": [1, {"b": null}], "c": 1}}',
        '{"user_attrs": {"c": "\\u0000"}, "value": 3}',
    ]
    assert attributes(*lines) == ({"a": [1, {"b": None}], "c": "\0"}, [])
    assert read(*lines) == (3.0,)
    assert problem(lines[0]).startswith("no value on standard output")


@pytest.mark.parametrize("name", ["HOST", "FAILURE", "RETRIED", "LATE_OF", "PRUNED", "REPLICATES"])
def test_an_attribute_that_is_tuneds_own_is_not_overwritten_and_that_is_told(name: str) -> None:
    kept, warnings = attributes(json.dumps({"user_attrs": {name: 1, "mine": 2}}))
    assert kept == {"mine": 2}
    ours = "FAILURE, HOST, LATE_OF, PRUNED, REPLICATES, RETRIED"
    assert warnings == [f"found {name}, expected another name, because tuned itself writes {ours}"]


@pytest.mark.parametrize("found", ["3", '["a"]', '{"": 1}', '{"a\\u0000": 1}', '{"\\ud800": 1}'])
def test_what_can_be_no_attribute_is_told_and_does_no_harm(found: str) -> None:
    kept, warnings = attributes(f'{{"user_attrs": {found}}}')
    assert (kept, len(warnings)) == ({}, 1)
    assert read(f'{{"user_attrs": {found}, "value": 1}}') == (1.0,)


def test_names_of_attributes_are_as_long_as_the_database_takes_them() -> None:
    kept, warnings = attributes(json.dumps({"user_attrs": {"a" * 512: 1, "b" * 513: 1}}))
    assert (list(kept), len(warnings)) == (["a" * 512], 1)


def test_a_flood_of_attributes_is_bounded_and_told_once() -> None:
    kept, warnings = attributes(*(f'{{"user_attrs": {{"a{n}": 1}}}}' for n in range(MOST_ATTRIBUTES + 9)))
    assert len(kept) == MOST_ATTRIBUTES
    assert warnings == [f"found more than {MOST_ATTRIBUTES} of them"]


def test_constraints_stand_alone_or_beside_a_value() -> None:
    reports = Reports(2, None)
    reports.feed(b'{"constraints": {"latency": 3.1}}\n{"values": [1, 2], "constraints": {"memory": -2}}\n')
    assert (reports.finish(), reports.constraints) == ((1.0, 2.0), {"latency": 3.1, "memory": -2.0})


def test_a_constraint_that_is_no_number_is_told_and_takes_the_value_away() -> None:
    line = '{"value": 1, "constraints": {"latency": "fast"}}'
    assert problem(line) == "constraint 'latency': found 'fast', expected a number"
    assert read(line, '{"constraints": {"latency": 1e999}}') == (1.0,)
