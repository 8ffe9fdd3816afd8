"""Sections are made of the lines of tables and texts."""

from __future__ import annotations

from tuned.tunectl.top.paper import Target, table, text_section


def test_the_lines_of_a_table_are_rows_that_open() -> None:
    section = table(["HEAD", "one", "two"], [Target("a", 1), None], [1, 2])
    assert (section.head, [row.opens for row in section.rows]) == ("HEAD", [Target("a", 1), None])


def test_the_lines_of_a_text_are_rows_that_are_only_read() -> None:
    section = text_section("OUTPUT", ["one", "two"], follows=True)
    assert ([row.lines for row in section.rows], section.is_text) == ([("one",), ("two",)], True)
    assert {row.opens for row in section.rows} == {None}
