"""The end of a trial's output as lines, whatever the trial has printed."""

from __future__ import annotations

from tuned.tunectl.top.outputs import TAIL_BYTES, output_lines, uncoloured


def test_colours_go_and_other_control_characters_become_harmless() -> None:
    printed = b"\x1b[1;32mgreen\x1b[0m\n\x1b[2Jclear\a\n\x1b]0;title\x07\n"
    assert output_lines(printed, 80) == ["green", "\\x1b[2Jclear\\x07", "\\x1b]0;title\\x07"]
    assert uncoloured("\x1b[31mred\x1b[0m") == "red"


def test_of_a_progress_bar_only_the_last_state_is_shown() -> None:
    assert output_lines(b"start\r\n 10%\r 20%\r\nend\r\n\n", 80) == ["start", " 20%", "end"]
    assert output_lines(b"", 80) == []
    assert output_lines(b" 10%\r 20%\r 30%", 80) == [" 30%"]


def test_long_lines_are_wrapped_and_endless_ones_cut() -> None:
    assert output_lines(b"one two three", 8) == ["one two", "three"]
    assert sum(map(len, output_lines(b"x" * 10_000, 50))) == 2000


def test_the_line_that_the_tail_cuts_is_left_out() -> None:
    printed = b"cut\n" + b"x" * (TAIL_BYTES - 5) + b"\n"
    assert output_lines(printed, 10)[0] == "x" * 10
