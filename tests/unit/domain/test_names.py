"""The one pattern of names."""

from __future__ import annotations

import pytest

from tuned.disk.arrivals import Refused, name_of
from tuned.domain.names import NAME


@pytest.mark.parametrize("name", ["a", "0", "minima-2", "a.b_c", "x" * 100])
def test_a_name_is_safe_as_a_file_and_in_a_url(name: str) -> None:
    assert NAME.fullmatch(name)
    assert name_of(f"{name}.toml") == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a b", "a/b", "ä", "a\n", "x" * 101])
def test_any_other_name_is_refused(name: str) -> None:
    assert not NAME.fullmatch(name)
    with pytest.raises(Refused):
        name_of(f"{name}.toml")
