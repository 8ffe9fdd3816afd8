"""A real browser before the real dashboard of a real daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

from tests.acceptance.daemon import Daemon, an_experiment
from tests.dashboards import serving

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

TOKEN = "0123456789abcdef"

PATIENCE_MILLISECONDS = 30_000

#: It runs in a page if anything of a trial is taken for a script.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

_REPORTS = (
    'for i in 1 2 3; do echo "{{\\"step\\": $i, \\"value\\": $i}}"; done; '
    f"echo {json.dumps(HOSTILE)}; until [ -e GATE ]; do sleep 0.05; done"
)


@dataclass(frozen=True)
class Site:
    """A dashboard, and the daemon behind it."""

    daemon: Daemon
    address: str

    def held(self, name: str, trials: int = 2) -> Path:
        """Drops an experiment whose trials report, print a hostile line and wait for the file."""
        gate = self.daemon.home / f"{name}.gate"
        more = (
            f'[space.kind]\ntype = "categorical"\nchoices = [{json.dumps(HOSTILE)}, "plain"]\n'
            f"[budget]\ntrials = {trials}\n"
        )
        script = _REPORTS.replace("GATE", str(gate)).replace(HOSTILE, HOSTILE.replace('"', "'"))
        self.daemon.drop(name, an_experiment(script, high=10**6, more=more))
        self.daemon.until_running(2)
        return gate


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "a").start()
    daemon.until_joined()
    yield daemon
    daemon.close()


@pytest.fixture
def site(daemon: Daemon) -> Iterator[Site]:
    """It has a token, and changes are allowed."""
    token = daemon.home / "token"
    token.write_text(TOKEN)
    with serving(daemon.config, "--allow-changes", "--token-file", str(token)) as address:
        yield Site(daemon, address)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """No script of a page may have failed, and nothing hostile may have run."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    faults: list[str] = []
    context.on("weberror", lambda each: faults.append(str(each.error)))

    def dismiss(dialog: Dialog) -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    context.on("dialog", dismiss)
    yield context
    context.close()
    assert faults == []


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    """The fleet's page, after the token was given."""
    page = context.new_page()
    page.goto(site.address)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("heading", name="Fleet", exact=True).wait_for()
    return page
