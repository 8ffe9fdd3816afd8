"""One frame as lines that can be read aloud."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.tunectl.top.made import NOW, must_be
from tuned.tunectl.client import Client
from tuned.tunectl.top.once import frame
from tuned.tunectl.top.overview import OverviewPage


@pytest.mark.usefixtures("host")
async def test_a_frame_is_sentences_without_bars_and_control_characters(path: Path) -> None:
    pictures = await asyncio.to_thread(lambda: list(OverviewPage().pictures(Client([path]))))
    text = "\n".join([*frame(pictures[-1], NOW), ""])
    must_be(text, "once")
