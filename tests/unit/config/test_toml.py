"""TOML at the edge: every problem in words, whatever the content of a file."""

from __future__ import annotations

import pytest

from tests.unit.experiment.sources import (
    MINIMAL,
    told,
    with_parts,
)
from tuned.errors import InvalidInput
from tuned.experiment.experiment import parse


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name = 'x'\nb = ", "x.toml: found a mistake in the TOML: Invalid value (at end of document)"),
        (b"name = 'x'\n  oops\n", "at line 2, column 7"),
        (b"a = 1\na = 2\n", "at line 2, column 6"),
        (b"\n\nname = '\xff'", "found a byte that is not UTF-8 in line 3, expected a TOML file in UTF-8"),
        (b"\xef\xbb\xbfname = 'x'", "found a byte order mark"),
        (b"a = " + b"[" * 100_000, "very deep nesting"),
        (b"a = " + b"9" * 5000, "a number of over 4300 digits"),
        (b"a." * 400_000 + b"a = 1", "a key of over 200 parts"),
        (b"a" * 1_000_000 + b" = 1", "an unknown key"),
        (b"a = '" + b"a" * 1_000_000 + b"'", "an unknown key"),
    ],
    ids=range(10),
)
@pytest.mark.timeout(10)
def test_what_is_no_toml_is_told_with_its_place(content: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=r"^x\.toml: ") as caught:
        parse(content, "x.toml")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("null", 'TOML has no null, so leave the key out, or use a string such as "none"'),
        ("None", "TOML has no null"),
        ("True", "expected true"),
        ("False", "expected false"),
        ("-Infinity", "expected a finite number"),
    ],
)
@pytest.mark.parametrize("line", ["choices = [1, {}]", "name = {}", "a = {{ b = {} }}"])
def test_a_word_of_another_language_is_told_with_what_to_write(value: str, expected: str, line: str) -> None:
    text = f"# a comment\r\n{line.format(value)}"
    with pytest.raises(InvalidInput) as caught:
        parse(text.encode(), "x.toml")
    column = line.format("?").index("?") + 1
    assert str(caught.value).startswith(
        f"x.toml: found {value.strip('-')} in line 2, column {column}, expected "
    )
    assert expected in str(caught.value)


def test_only_the_first_hundred_mistakes_are_listed() -> None:
    lines = told("\n".join(f"k{number} = 1" for number in range(500)) + MINIMAL)
    assert len(lines) == 101
    assert lines[-1] == "x.toml: found 400 more problems, expected none"


def test_a_message_cannot_steer_a_terminal() -> None:
    lines = told(with_parts(top=r'"\u001b[2J" = 1' + "\n" + r'name = "\u009b31m"'))
    assert all(line.isprintable() for line in lines)
