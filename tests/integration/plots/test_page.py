"""Plots as one file."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from tests.integration.plots.studies import HOSTILE, searched
from tuned.errors import TunedError
from tuned.plots.figures import drawn
from tuned.plots.page import page, picture


def test_a_page_runs_nothing_of_a_study_and_loads_nothing() -> None:
    text = page(HOSTILE, drawn(searched(9), ["history", "slice", "parallel"]))
    assert HOSTILE not in text
    assert text.count("<h2>") == 3
    assert not re.search(r"<(script|link|img)[^>]* (src|href)=", text)


@pytest.mark.skipif(
    not shutil.which("chromium") and "CI" not in os.environ, reason="no Chromium is installed here"
)
def test_a_picture_is_drawn_by_a_browser() -> None:
    assert picture("minima", drawn(searched(9), ["history"])).startswith(b"\x89PNG")


def test_without_a_browser_no_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(TunedError, match="neither was found on this host"):
        picture("minima", drawn(searched(9), ["history"]))
    with pytest.raises(TunedError, match="expected one --kind"):
        picture("minima", drawn(searched(9), ["history", "slice"]))
