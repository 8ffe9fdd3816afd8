"""The dashboard as a person sees it, while a real daemon runs trials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.acceptance.daemon import an_experiment
from tests.dashboards import status
from tests.waiting import until
from tests.web.conftest import HOSTILE, PATIENCE_MILLISECONDS, TOKEN, Site

expect.set_options(timeout=PATIENCE_MILLISECONDS)


def test_the_fleets_page_follows_trials_without_being_loaded_again(page: Page, site: Site) -> None:
    page.evaluate("window.wasHere = true")
    expect(page.get_by_text("No trial runs.")).to_be_visible()
    gate = site.held("live")
    expect(page.get_by_role("link", name="live 1")).to_be_visible()
    expect(page.locator("[data-key='live/0']")).to_contain_text("3 at 3")
    expect(page.locator("[data-key='live/0']")).to_contain_text(HOSTILE)
    gate.touch()
    expect(page.locator("tr[data-key='live']")).to_contain_text("done")
    expect(page.get_by_text("No trial runs.")).to_be_visible()
    assert page.evaluate("window.wasHere")


def test_an_experiment_and_its_trials_are_reached_by_links(page: Page, site: Site) -> None:
    site.held("reached").touch()
    page.get_by_role("link", name="reached", exact=True).click()
    expect(page.locator("h1")).to_contain_text("done")
    expect(page.get_by_role("img", name=re.compile("Best value so far"))).to_be_visible()
    page.locator("#part-trials").get_by_role("link", name="1").click()
    expect(page.locator("#part-story")).to_contain_text("Its point came from")
    expect(page.locator("pre.output")).to_contain_text('{"step": 3, "value": 3}')
    expect(page.locator("pre.output")).to_contain_text(HOSTILE)


def test_a_log_grows_while_its_trial_runs(page: Page, site: Site) -> None:
    gate = site.daemon.home / "gate"
    script = f"echo first; until [ -e {gate} ]; do sleep 0.05; done; echo second; sleep 600"
    site.daemon.drop("log", an_experiment(script, high=0))
    site.daemon.until_running(1)
    page.goto(f"{site.address}/experiments/log/trials/0")
    expect(page.locator("pre.output")).to_contain_text("first")
    gate.touch()
    expect(page.locator("pre.output")).to_contain_text("second")


def test_names_and_output_of_trials_are_text(page: Page, site: Site) -> None:
    """The fixture of the context holds that nothing of it ran."""
    site.held("hostile")
    for path in (
        "/",
        "/experiments/hostile",
        "/experiments/hostile/trials/0",
        "/experiments/hostile/trials/1",
    ):
        page.goto(site.address + path)
        expect(page.locator("main")).to_contain_text(HOSTILE)
        assert page.locator("main img, main script").count() == 0


def test_an_experiment_is_paused_resumed_and_cancelled_by_buttons(page: Page, site: Site) -> None:
    site.held("changed", 50)
    page.goto(f"{site.address}/experiments/changed")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1")).to_contain_text("paused")
    assert site.daemon.summary("changed")["state"] == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1")).to_contain_text("open")
    page.get_by_text("Cancel …").click()
    page.get_by_role("button", name="Cancel it in the whole fleet").click()
    expect(page.locator("h1")).to_contain_text("cancelled")
    site.daemon.until_in("cancelled", "changed")


@contextmanager
def another_site(body: str) -> Iterator[str]:
    """A page of another site, by the name localhost: the dashboard's is an address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_form_of_another_site_changes_nothing_though_the_browser_has_the_token(
    page: Page, site: Site
) -> None:
    site.held("kept", 50)
    target = f"{site.address}/experiments/kept/pause"
    with another_site(f'<form method="post" action="{target}"><button>Win</button></form>') as address:
        page.goto(address)
        with page.expect_response(target) as answer:
            page.get_by_role("button", name="Win").click()
    assert answer.value.status == 403
    assert site.daemon.summary("kept")["state"] == "open"
    # The same form on our own page works, so that it was the site that was refused.
    page.goto(f"{site.address}/experiments/kept")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1")).to_contain_text("paused")


def test_without_the_token_there_is_only_the_page_that_asks_for_it(page: Page, site: Site) -> None:
    page.context.clear_cookies()
    page.goto(f"{site.address}/experiments/any")
    expect(page.get_by_label("Token")).to_be_focused()
    page.get_by_label("Token").fill("another one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This is not the token.")
    assert status(site.address, "/?format=json", headers={"Authorization": f"Bearer {TOKEN}"}) == 200


def test_all_is_reached_by_keyboard(page: Page, site: Site) -> None:
    site.held("keys").touch()
    expect(page.locator("tr[data-key='keys']")).to_contain_text("done")
    page.goto(site.address)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "keys":
            break
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("keys")


def test_focus_stays_while_the_page_changes(page: Page, site: Site) -> None:
    gate = site.held("focus", 6)
    page.get_by_role("link", name="focus", exact=True).focus()
    gate.touch()
    expect(page.locator("tr[data-key='focus']")).to_contain_text("6 / 6")
    expect(page.get_by_role("link", name="focus", exact=True)).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1000, 1800])
def test_no_page_is_wider_than_its_window_or_has_serious_faults_of_accessibility(
    page: Page, site: Site, scheme: str, width: int
) -> None:
    site.held("seen", 4).touch()
    expect(page.locator("tr[data-key='seen']")).to_contain_text("done")
    site.held("more", 4)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
    for path in (
        "/",
        "/experiments/seen",
        "/experiments/more",
        "/experiments/seen/trials/0",
        "/login",
        "/experiments/none",
    ):
        page.goto(site.address + path)
        found = Axe().run(page).response["violations"]
        assert [each["id"] for each in found if each["impact"] in {"serious", "critical"}] == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_optuna_dashboard_works_below_its_prefix_with_its_own_scripts(page: Page, site: Site) -> None:
    site.held("shown", 4).touch()
    expect(page.locator("tr[data-key='shown']")).to_contain_text("done")
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    page.get_by_role("link", name="optuna-dashboard").click()
    page.get_by_text("shown").first.click()
    expect(page).to_have_url(re.compile(r"/optuna/dashboard/studies/\d+"))
    page.get_by_role("link", name="Trials (List)").click()
    expect(page.get_by_text("Complete").first).to_be_visible()
    elsewhere = [url for url in asked if not url.startswith(f"{site.address}/") or "/optuna/" not in url]
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []


def test_the_page_lives_through_a_restart_of_the_daemon(page: Page, site: Site) -> None:
    site.held("kept")
    expect(page.get_by_role("link", name="kept 1")).to_be_visible()
    site.daemon.crash()
    site.daemon.start()
    until(lambda: site.daemon.running() == 2, what="its trials to be adopted")
    (site.daemon.home / "kept.gate").touch()
    expect(page.locator("tr[data-key='kept']")).to_contain_text("done")
