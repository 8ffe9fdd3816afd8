"""Lines as a terminal gets them: hostile text is text."""

from __future__ import annotations

import pytest
from rich.style import Style

from tuned.tunectl.text import Canvas, Colour
from tuned.tunectl.top.painting import strip

HOSTILE = ["[bold red]x[/]", "[@click=app.quit]x[/]", "$x", "[link=file:///]x[/]", "\\[x"]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_is_text(text: str) -> None:
    painted = strip(text, 30, is_ascii=False)
    assert painted.text.rstrip() == text
    assert {segment.style for segment in painted} == {Style()}


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x1b]0;x\x07", "\x9b31m", "\x00", "\u202e", "\x1b[1000C", "a\rb"]
)
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    painted = strip(f"{text}x", 30, is_ascii=False)
    assert painted.text.isprintable()
    assert painted.cell_length == 30
    assert all(segment.control is None for segment in painted)


def test_our_own_colours_become_styles() -> None:
    line = Canvas(has_colours=True).paint("open", Colour.GREEN)
    [green, rest] = strip(f"{line} x", 6, is_ascii=False)
    assert (green.text, green.style, rest.text) == ("open", Style(color="green"), " x")


def test_a_line_is_exactly_as_wide_as_the_terminal() -> None:
    assert strip("日本日本", 5, is_ascii=False).cell_length == 5
    assert strip("日本 ●", 8, is_ascii=True).text == "???? *  "
    assert strip("x", 3, is_ascii=False, is_reverse=True).text == "x  "


def test_a_reversed_line_has_no_colours_of_its_own() -> None:
    line = Canvas(has_colours=True).paint("open", Colour.GREEN)
    assert {each.style for each in strip(line, 9, is_ascii=False, is_reverse=True)} == {Style(reverse=True)}
