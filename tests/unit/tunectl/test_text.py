"""Tables, spans, bars and numbers for a terminal, letter by letter; and that they fit."""

from __future__ import annotations

import re

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from tuned.tunectl import text as text_module
from tuned.tunectl.text import Canvas, Cell, Colour, Column

COLOURS = Canvas(has_colours=True)


PLAIN = Canvas()


_ESCAPES = re.compile(r"\x1b\[\d*m")


def text(lines: list[str]) -> str:
    return "\n".join(["", *lines, ""])


def test_columns_stand_below_their_titles() -> None:
    columns = [Column("NAME"), Column("COUNT", is_right=True), Column("")]
    rows: list[list[str | Cell]] = [["one", "1", "x"], ["eleven", "11", ""]]
    assert (
        text(PLAIN.table(columns, rows))
        == """
NAME    COUNT
one         1  x
eleven     11
"""
    )


def test_what_does_not_fit_is_cut_where_it_may_be() -> None:
    columns = [Column("KEPT"), Column("CUT", least=5)]
    lines = Canvas(width=20).table(columns, [["k" * 10, "c" * 30]])
    assert lines[1] == "kkkkkkkkkk  ccccccc…"


def test_colours_do_not_move_columns() -> None:
    columns = [Column("STATE"), Column("NAME")]
    rows: list[list[str | Cell]] = [[Cell("open", Colour.GREEN), "a"], [Cell("cancelled", Colour.RED), "b"]]
    painted = COLOURS.table(columns, rows)
    assert painted[1] == "\x1b[32mopen\x1b[0m       a"
    assert [_ESCAPES.sub("", line) for line in painted] == PLAIN.table(columns, rows)


@given(st.lists(st.tuples(st.text(), st.text(), st.integers()), max_size=5), st.integers(40, 120))
def test_no_line_is_wider_than_the_canvas_or_controls_the_terminal(
    rows: list[tuple[str, str, int]], width: int
) -> None:
    columns = [Column("ONE", least=5), Column("TWO", least=5), Column("THREE", is_right=True, least=5)]
    for line in Canvas(width=width).table(columns, [[one, two, str(three)] for one, two, three in rows]):
        assert wcwidth.width(line) <= width
        assert line.isprintable()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (45, "45s"),
        (59.9, "1min"),
        (75, "1min 15s"),
        (3600, "1h"),
        (7384, "2h 3min"),
        (86399, "23h 59min"),
        (90000, "1d 1h"),
        (-3, "0s"),
    ],
)
def test_spans_have_their_two_largest_units(seconds: float, expected: str) -> None:
    assert text_module.span(seconds) == expected


@pytest.mark.parametrize(
    ("done", "total", "bar", "percent"),
    [
        (0, 10**9, "░░░░", "0%"),
        (1, 10**9, "█░░░", "0%"),
        (29, 100, "█░░░", "29%"),
        (50, 100, "██░░", "50%"),
        (999, 1000, "███░", "99%"),
        (1000, 1000, "████", "100%"),
        (1001, 1000, "████", "100%"),
    ],
)
def test_a_bar_is_full_at_the_end_only_and_empty_at_the_beginning_only(
    done: int, total: int, bar: str, percent: str
) -> None:
    assert (text_module.bar(done, total, 4), text_module.percent(done, total)) == (bar, percent)


def test_infinity_comes_as_a_string_and_is_a_number_all_the_same() -> None:
    assert [text_module.number(each) for each in (0.1 + 0.2, 1e-9, "-Infinity")] == ["0.3", "1e-09", "-inf"]


@given(st.text(alphabet="ab 日e\u0301", max_size=200), st.integers(5, 40))
def test_wrapped_text_loses_nothing_but_spaces(written: str, width: int) -> None:
    lines = text_module.wrap(written, width)
    assert all(wcwidth.width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == written.replace(" ", "")


def test_columns_stand_below_their_titles_in_any_script() -> None:
    columns = [Column("NAME"), Column("COUNT", is_right=True), Column("")]
    rows: list[list[str | Cell]] = [["日本", "1", "x"], ["cafe\u0301", "11", "x"]]
    assert (
        text(PLAIN.table(columns, rows))
        == """
NAME  COUNT
日本      1  x
cafe\u0301     11  x
"""
    )


def test_a_wide_letter_that_does_not_fit_whole_is_cut_off() -> None:
    assert [text_module.cut("日本語日本語", width) for width in (12, 8, 7, 6)] == [
        "日本語日本語", "日本語…", "日本語…", "日本…",
    ]  # fmt: skip
    assert text_module.wrap("日本語日本語", 5) == ["日本", "語日", "本語"]


def test_labels_of_facts_are_as_wide_as_they_look() -> None:
    assert PLAIN.facts([("日本", "x"), ("a", "y")]) == ["日本  x", "a     y"]


def test_a_long_text_is_wrapped_in_time_that_grows_with_its_length() -> None:
    assert len(text_module.wrap("日" * 20000, 80)) == 500


@given(st.text())
def test_printable_text_is_printable_and_what_was_printable_is_unchanged(written: str) -> None:
    shown = text_module.printable(written)
    assert shown.isprintable()
    assert shown == written or not written.isprintable()


def test_a_control_character_is_shown_by_its_number() -> None:
    assert text_module.printable("a\x1b[2J\x07\u202eb\ud800") == "a\\x1b[2J\\x07\\u202eb\\ud800"
    assert text_module.printable("é 日本 ●\tx\n") == "é 日本 ● x "
