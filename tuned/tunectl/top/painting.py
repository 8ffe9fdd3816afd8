"""Lines as Textual paints them. All that a screen shows goes through here, and only printable text passes.

It takes our own colours out of a line, and never reads markup: neither Rich's nor Textual's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tuned.tunectl.text import Colour, printable
from tuned.tunectl.top.letters import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = re.compile(r"\x1b\[(0|1|2|31|32|33)m")

_STYLES = {
    Colour.BOLD.value: Style(bold=True),
    Colour.DIM.value: Style(dim=True),
    Colour.RED.value: Style(color="red"),
    Colour.GREEN.value: Style(color="green"),
    Colour.YELLOW.value: Style(color="yellow"),
}

_NONE = Style()

_REVERSE = Style(reverse=True)


def strip(line: str, width: int, *, is_ascii: bool, is_reverse: bool = False, is_dim: bool = False) -> Strip:
    """Exactly so wide."""
    base = _REVERSE if is_reverse else _STYLES[Colour.DIM.value] if is_dim else _NONE
    segments = [
        # Reversed colours would make a patchwork of the line.
        Segment(plain(text) if is_ascii else text, base if is_reverse else base + style)
        for text, style in _pieces(line)
        if text
    ]
    return Strip(segments).adjust_cell_length(width, base)


def _pieces(line: str) -> Iterator[tuple[str, Style]]:
    end, style = 0, _NONE
    for match in _OURS.finditer(line):
        yield printable(line[end : match.start()]), style
        end, style = match.end(), _STYLES.get(match[1], _NONE)
    yield printable(line[end:]), style
