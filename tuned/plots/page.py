"""Figures as one HTML file that needs no network, and as a picture of it."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.errors import TunedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.plots.figures import Drawn

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

WIDTH, HEIGHT = 1000, 560

#: A browser that hangs is ended.
_PICTURE_SECONDS = 120

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ font: 16px sans-serif; margin: 16px auto; max-width: 1200px; padding: 0 16px }}</style>
<h1>{title}</h1>
{figures}
</html>
"""


def page(title: str, figures: Sequence[Drawn], *, has_buttons: bool = True) -> str:
    """The file, with the script that draws."""
    config = {"displaylogo": False, "displayModeBar": has_buttons, "responsive": True}
    parts = [_section(each, config, has_script=place == 0) for place, each in enumerate(figures)]
    return _PAGE.format(title=html.escape(title), figures="\n".join(parts))


def _section(drawn: Drawn, config: dict[str, bool], *, has_script: bool) -> str:
    drawn.figure.update_layout(title=None, height=HEIGHT - 60, margin={"t": 40})
    script = drawn.figure.to_html(full_html=False, include_plotlyjs=has_script, config=config)
    return f"<h2>{html.escape(drawn.title)}</h2>\n{script}"


def picture(title: str, figures: Sequence[Drawn]) -> bytes:
    """The page as PNG. Raises TunedError if no program is here that draws it."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is not None:
        text = page(title, figures, has_buttons=False)
        return _by_browser(browser, text, height=HEIGHT * len(figures) + 80)
    if len(figures) > 1:
        raise TunedError(
            "a PNG of all plots needs Chromium, which was not found; expected one --kind, or HTML"
        )
    try:
        return bytes(figures[0].figure.to_image("png", width=WIDTH, height=HEIGHT))
    except (ImportError, RuntimeError, ValueError):
        raise TunedError(
            "a PNG needs Chromium or kaleido, and neither was found on this host; HTML needs none"
        ) from None


def _by_browser(browser: str, text: str, *, height: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tuned-plot-") as directory:
        source, target = Path(directory) / "plot.html", Path(directory) / "plot.png"
        source.write_text(text, encoding="utf-8")
        command = [
            browser, "--headless", "--hide-scrollbars", "--disable-gpu", f"--window-size={WIDTH},{height}",
            "--virtual-time-budget=20000", f"--user-data-dir={directory}/profile", f"--screenshot={target}",
            source.as_uri(),
        ]  # fmt: skip
        if os.geteuid() == 0:
            # A browser refuses to be root in its sandbox. This page loads nothing.
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_PICTURE_SECONDS)
        except subprocess.TimeoutExpired:
            raise TunedError(f"no PNG: {browser} has not ended in {_PICTURE_SECONDS} s") from None
        if not target.exists():
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise TunedError(f"no PNG: {browser} drew nothing: {last}")
        return target.read_bytes()
