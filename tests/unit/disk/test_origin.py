"""The first line of a file that is from another host."""

from __future__ import annotations

import tomllib

import pytest

from tuned.disk.origin import LONGEST_MARK, marked, unmarked

CONTENT = b"# A remark.\nx = 1\n"


@pytest.mark.parametrize("host", ["h1", "a.b-c_d", "h" * 100])
def test_a_marked_file_says_its_host_and_is_the_same_toml(host: str) -> None:
    text = marked(CONTENT, host)
    assert unmarked(text) == (CONTENT, host)
    assert host in text.decode().splitlines()[0]
    assert tomllib.loads(text.decode()) == {"x": 1}
    assert len(text) - len(CONTENT) <= LONGEST_MARK


def test_a_file_that_was_dropped_here_has_no_mark() -> None:
    assert marked(CONTENT, "") == CONTENT
    assert unmarked(CONTENT) == (CONTENT, "")


def test_a_file_that_a_person_edits_is_this_hosts_own() -> None:
    edited = marked(CONTENT, "h1").replace(b"x = 1", b"x = 2")
    assert unmarked(edited) == (edited, "")
