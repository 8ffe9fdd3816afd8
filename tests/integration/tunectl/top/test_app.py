"""The screens under keys, a daemon that goes and comes, a slow terminal and hostile text."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.integration.tunectl.top.made import HOSTILE, MadeHost, opened
from tests.small_host import served
from tests.waiting import until_async
from tuned.tunectl.top import app as app_module
from tuned.tunectl.top.keys import HELP


@pytest.mark.usefixtures("host")
async def test_keys_go_from_the_overview_to_an_experiment_to_a_trial_and_back(path: Path) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.press("down", "enter")
        await screen.until("open  resnet")
        await screen.press("escape", "up", "enter")
        await screen.until("open  minima")
        await screen.until("RUNNING")
        await screen.press("j", "enter")
        await screen.until("Trial 42 of minima")
        await screen.press("left", "escape", "escape")
        await screen.until("SLOT")
        await screen.press("q")
    assert screen.app.return_code == 0


@pytest.mark.usefixtures("host")
async def test_the_keys_are_explained_until_another_key(path: Path) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.press("question_mark")
        await screen.until(HELP[0])
        await screen.press("c")
        await screen.until("SLOT")
        assert "Sure?" not in screen.text


@pytest.mark.parametrize(
    ("key", "asked", "said"),
    [("p", "pause minima", "minima is paused"), ("c", "cancel minima", "minima is cancelled")],
)
async def test_a_change_of_an_experiment_asks_first(
    host: MadeHost, path: Path, key: str, asked: str, said: str
) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.press(key)
        await screen.until(asked)
        await screen.press("n")
        await screen.until("nothing changed")
        assert host.summary["state"] == "open"
        await screen.press(key, "y")
        await screen.until(said)
        await screen.press("r", "y")
        await screen.until("minima is open" if key == "p" else "cannot make minima open")


async def test_a_drain_asks_first_and_a_change_needs_an_experiment(host: MadeHost, path: Path) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.press("tab", "tab", "p")
        await screen.until("choose an experiment first")
        await screen.press("d", "enter")
        await screen.until("nothing changed")
        assert host.host_state == "running"
        await screen.press("d", "y")
        await screen.until("this host is draining")
        await screen.until("● draining")


async def test_on_its_own_page_an_experiment_needs_no_choice(host: MadeHost, path: Path) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.press("enter")
        await screen.until("PARAMETER")
        await screen.press("tab", "p", "y")
        await screen.until("minima is paused")
        assert host.summary["state"] == "paused"


async def test_it_lives_through_a_restart_of_the_daemon(path: Path) -> None:
    async with AsyncExitStack() as daemons:
        await daemons.enter_async_context(served(MadeHost(), path))
        async with opened(path) as screen:
            await screen.until("beta")
            await daemons.aclose()
            await screen.until("cannot reach the daemon")
            # The last picture stays.
            assert "minima" in screen.text
            later = MadeHost()
            later.experiments_here[0]["name"] = "another"
            await daemons.enter_async_context(served(later, path))
            await screen.until("another")
            await screen.until_not("cannot reach the daemon")


async def test_an_event_is_seen_long_before_the_next_look(
    host: MadeHost, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuned.tunectl.top.feed.REFRESH_SECONDS", 600.0)
    async with opened(path) as screen:
        await screen.until("beta")
        host.experiments_here[0]["state"] = "done"

        def seen() -> bool:
            # Not before the stream is there.
            host.events.publish("experiment-state", experiment="minima", state="done")
            return "minima      done" in screen.text

        await until_async(seen, what="the end of minima on the screen")


async def test_a_terminal_that_does_not_keep_up_gets_the_newest_frame_later(
    host: MadeHost, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as screen:
        await screen.until("beta")
        # The driver of a test is none of ours.
        monkeypatch.setattr(app_module, "Terminal", object)
        monkeypatch.setattr(type(screen.app._driver), "is_behind", True, raising=False)
        before = screen.text
        shown: list[object] = []
        monkeypatch.setattr(screen.app._sheet, "show", shown.append)
        host.experiments_here = []
        host.events.publish("experiment-state", experiment="minima", state="done")
        await until_async(lambda: screen.app._will_paint, what="a frame that waits")
        await screen.press("down", "down")
        assert (screen.text, shown) == (before, [])
        monkeypatch.setattr(type(screen.app._driver), "is_behind", False, raising=False)
        await until_async(lambda: shown, what="the frame that waited")


async def test_hostile_names_and_output_are_text_on_every_screen(host: MadeHost, path: Path) -> None:
    name = "x\x1b[2J[@click=app.quit]y[/]\n"
    host.experiments_here[0]["name"] = host.experiments_here[0]["note"] = name
    host.host_list[0]["name"] = host.experiments_here[1]["ended_by"] = HOSTILE
    async with opened(path, (200, 50)) as screen:
        await screen.until("x\\x1b[2J[@click=app.quit]y[/]")
        assert screen.text.replace("\n", "").isprintable()
        await screen.press("enter")
        # No path of the daemon has such a name.
        await screen.until("there is nothing here")
        assert screen.text.replace("\n", "").isprintable()


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("size", [(20, 5), (40, 8), (1, 1)])
async def test_a_tiny_terminal_shows_what_fits(path: Path, size: tuple[int, int]) -> None:
    async with opened(path, size) as screen:
        await until_async(lambda: screen.app._opened[0].picture, what="an answer")
        await screen.press("down", "tab", "enter", "pagedown")
        assert all(len(line) <= size[0] for line in screen.lines)


async def test_a_screen_follows_the_size_of_its_terminal(host: MadeHost, path: Path) -> None:
    assert host.experiments_here
    async with opened(path) as screen:
        await screen.until("beta")
        await screen.pilot.resize_terminal(120, 30)
        await screen.until("████░░░░░░")
        assert screen.lines[29].startswith("q quit")
