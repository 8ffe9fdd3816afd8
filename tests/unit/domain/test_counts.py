"""Counts in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tuned.domain.counts import counted

#: A count of the things that people have one of, in an f-string.
_BY_HAND = re.compile(
    r"\{[^{}\"]*\} (?:failed |more |given )?(?:trials|points|evaluations|results|slots|experiments|events)\b"
)


@pytest.mark.parametrize(("count", "words"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_one_of_a_thing_is_singular(count: int, words: str) -> None:
    assert counted(count, "trial") == words


def test_no_other_module_writes_the_plural_behind_a_count() -> None:
    package = Path(__file__).parents[3] / "tuned"
    found = {
        f"{path.relative_to(package)}: {match}"
        for path in package.rglob("*.py")
        for match in _BY_HAND.findall(path.read_text())
        # Constants, of which none is 1.
        if not re.match(r"\{[A-Z_]+\}", match)
    }
    assert not found
