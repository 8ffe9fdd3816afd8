"""A terminal gets letters that it can show, in the same columns."""

from __future__ import annotations

import pytest
import wcwidth

from tuned.tunectl.top.letters import is_ascii, plain


@pytest.mark.parametrize(
    ("encoding", "environ", "expected"),
    [
        ("utf-8", {"LANG": "en_US.UTF-8"}, False),
        ("utf-8", {}, False),
        ("utf-8", {"LANG": "C"}, True),
        # Python adds this one by itself in the C locale.
        ("utf-8", {"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ("utf-8", {"LANG": "C.UTF-8"}, False),
        ("utf-8", {"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, True),
        ("utf-8", {"LANG": "C", "LC_ALL": "de_DE.UTF-8"}, False),
        ("latin-1", {"LANG": "de_DE"}, True),
        ("ascii", {}, True),
        (None, {}, True),
    ],
)
def test_the_locale_that_a_person_set_and_the_encoding_decide(
    encoding: str | None, environ: dict[str, str], expected: bool
) -> None:
    assert is_ascii(encoding, environ) is expected


@pytest.mark.parametrize("text", ["● open – 日本 …", "e\u0301", "plain"])
def test_plain_letters_are_ascii_and_as_wide(text: str) -> None:
    assert plain(text).isascii()
    assert len(plain(text)) == wcwidth.width(text)
