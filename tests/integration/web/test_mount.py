"""optuna-dashboard below a prefix, as its own scripts ask for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.storage.queries.worlds import World, a_bit_of_everything
from tests.integration.web.conftest import Serve
from tuned.errors import TunedError
from tuned.web import mount


async def test_its_page_and_its_script_ask_below_the_prefix(serve: Serve) -> None:
    client = await serve()
    page = await client.get("/optuna/")
    assert page.url.path == "/optuna/dashboard"
    (script,) = re.findall(r'src="([^"]+)"', await page.text())
    text = await (await client.get(script)).text()
    assert 'url_prefix:"/optuna/dashboard"' in text
    assert set(re.findall(r"`([^`]{0,40}/api)/", text)) == {"/optuna"} or "/optuna/api/" in text
    assert "${this.baseURL}" not in text


async def test_it_shows_the_studies(world: World, serve: Serve) -> None:
    a_bit_of_everything(world)
    client = await serve()
    (study,) = (await (await client.get("/optuna/api/studies")).json())["study_summaries"]
    shown = await (await client.get(f"/optuna/api/studies/{study['study_id']}")).json()
    assert (study["study_name"], len(shown["trials"])) == ("exp", 8)


async def test_its_page_keeps_its_own_policy_and_no_site_may_frame_it(serve: Serve) -> None:
    answer = await (await serve()).get("/optuna/dashboard/studies/1")
    assert "script-src 'self' 'unsafe-eval'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_what_it_is_asked_to_change_it_changes_if_that_is_allowed(serve: Serve) -> None:
    client = await serve(allows_changes=True)
    made = await client.post("/optuna/api/studies", json={"study_name": "made", "directions": ["minimize"]})
    assert (made.status, (await made.json())["study_summary"]["study_name"]) == (201, "made")


def test_a_version_with_other_addresses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle.js").write_text("fetch('/elsewhere')")
    with pytest.raises(TunedError, match=r"cannot serve this version of optuna-dashboard: bundle\.js has no"):
        mount._placed(tmp_path / "bundle.js", {"`/csv/": "`/optuna/csv/"})
