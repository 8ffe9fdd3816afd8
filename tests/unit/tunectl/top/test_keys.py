"""The last line fits the narrowest terminal, and every key that the screens take is explained."""

from __future__ import annotations

import pytest

from tuned.tunectl.top.keys import FOOTER, HELP, INNER_FOOTER


@pytest.mark.parametrize("line", [FOOTER, INNER_FOOTER, *HELP])
def test_each_line_fits_eighty_columns(line: str) -> None:
    assert len(line) <= 80
    assert line.isascii()


@pytest.mark.parametrize(
    "key", ["up", "down", "page up", "home", "tab", "enter", "escape", "p, r, c", "d", "q"]
)
def test_each_key_is_explained(key: str) -> None:
    assert f"  {key}" in "\n".join(HELP) or f", {key}" in "\n".join(HELP) or f"; {key}" in "\n".join(HELP)
