"""A made-up host with experiments of all kinds, whose trials print what they like."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.small_host import SmallHost, a_count, a_host, a_status, a_story, a_summary, a_trial
from tests.waiting import until_async
from tuned.errors import NotFound
from tuned.protocol.experiments import ExperimentSummary, ExperimentView
from tuned.protocol.fleet import HostView
from tuned.protocol.host import RunView, Status
from tuned.protocol.trials import BestView, ImprovementsView, StoryView
from tuned.tunectl.client import Client
from tuned.tunectl.top.app import Look, Top

if TYPE_CHECKING:
    from textual.pilot import Pilot

NOW = datetime(2025, 1, 31, 12, 46, tzinfo=UTC)

SCREENS = Path(__file__).parent / "screens"

HOSTILE = "\x1b[2J[bold red]epoch[/] 7 \x07日本"


class MadeHost(SmallHost):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []
        #: How often for its status.
        self.asked = 0
        best = BestView(
            number=30, values=[0.125], params={"lr": 0.5, "kind": "[red]adam"}, host="alpha", constraints={}
        )
        empty = {"best": None, "trials": 0, "visited": 0, "started": None, "counts": a_count()}
        self.experiments_here = [
            a_summary(),
            a_summary(
                "resnet",
                directions=["minimize"],
                best=best,
                trials=31,
                counts=a_count(complete=29, running=2),
            ),
            a_summary("blocked", note="cannot run '/srv/\x1b[31mtrain[/]': there is no such file", **empty),
            a_summary("later", state="paused", note="paused: the first 10 trials have all failed", **empty),
        ]
        #: Of which its status does not tell.
        self.ended_here: list[ExperimentSummary] = []
        self.all_trials = [a_trial(number, values=[1 / (1 + number)]) for number in range(44)]
        failure = {"cause": "exit", "message": f"exit status 1: {HOSTILE}"}
        self.all_trials[40] = a_trial(40, state="FAIL", values=None, failure=failure)
        report = {"step": 3, "value": 0.25}
        self.all_trials[43] = a_trial(
            43, state="RUNNING", values=None, ended=None, seconds=None, report=report
        )
        self.output = [b"epoch 1\n", HOSTILE.encode() + b"\n", b" 10%\r 20%\r\n", b"done\n"]
        self.host_list = [a_host(), a_host("beta", state="dead", slots=8, running=3, beat_age_seconds=95.0)]

    async def status(self, *, has_output: bool = False) -> Status:
        self.asked += 1
        status = a_status(experiments=self.experiments_here, state=self.host_state, warnings=self.warnings)
        status["slots"] = [
            {"slot": 0, "running": a_run(43, report={"step": 3, "value": 0.25}, last_line=HOSTILE)},
            {
                "slot": 1,
                "running": a_run(
                    30, experiment="resnet", replicate=2, replicates=5, last_line="epoch 7 of 90"
                ),
            },
            {"slot": 2, "running": None},
        ]
        return status

    async def experiment(self, name: str) -> ExperimentView:
        view = await super().experiment(name)
        known = [*self.experiments_here, *self.ended_here]
        view["summary"] = next(each for each in known if each["name"] == name)
        space = {
            "lr": {"type": "float", "low": 0.0001, "high": 1.0, "log": True},
            "minima_size": {"type": "int", "low": 1, "high": 64},
            "optimizer": {"type": "categorical", "choices": ["adam", "sgd"], "when": "lr > 0.1"},
        }
        view["definition"] = {"space": space}
        return view

    def _require(self, name: str) -> None:
        if name not in {each["name"] for each in (*self.experiments_here, *self.ended_here)}:
            raise NotFound(f"cannot find experiment {name}: there is none of this name")

    async def improvements(self, name: str) -> ImprovementsView:
        courses = {
            "minima": {0: 0.25, 5: 0.5, 11: 0.75, 17: 0.9731},
            "resnet": {0: 2.0, 5: 1.0, 17: 0.5, 30: 0.125},
        }
        if name not in courses:
            raise NotFound(f"cannot find experiment {name}")
        course = courses[name].items()
        return {"improvements": [{"number": number, "value": value} for number, value in course]}

    async def story(self, name: str, number: int) -> StoryView:
        return a_story(self.all_trials[number], output=f"/var/lib/tuned/trials/minima/{number}/output.log")

    async def hosts(self) -> Sequence[HostView]:
        return self.host_list

    async def logs(
        self, name: str, number: int | None, *, follow: bool, is_setup: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        self.tail = tail
        return self._output(follow=follow)


def a_run(trial: int, **changes: object) -> RunView:
    run = RunView(
        experiment="minima",
        trial=trial,
        replicate=1,
        replicates=1,
        attempt=1,
        seconds=75.0,
        report=None,
        gpus=[],
        is_adopted=False,
    )
    run.update(changes)  # type: ignore[typeddict-item]
    return run


class Screen:
    """The app under a pilot."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def lines(self) -> list[str]:
        sheet = self.app._sheet
        return [sheet.render_line(y).text.rstrip() for y in range(self.app.size.height)]

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, ""])

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, shown: str) -> None:
        await until_async(lambda: shown in self.text, what=lambda: f"{shown!r} on\n{self.text}")

    async def until_not(self, shown: str) -> None:
        await until_async(lambda: shown not in self.text, what=lambda: f"no {shown!r} on\n{self.text}")

    def must_be(self, name: str) -> None:
        size = self.app.size
        must_be(self.text + self._chosen(), f"{name}-{size.width}x{size.height}")

    def _chosen(self) -> str:
        """A text does not show the line that is reversed."""
        chosen = [y for y, each in enumerate(self.app._sheet.lines) if each.is_chosen]
        return f"[reversed: {', '.join(self.lines[y].split()[0] for y in chosen)}]\n"


def must_be(text: str, name: str) -> None:
    """As the file has it. To change it: delete the file, run the test, look at the file."""
    file = SCREENS / f"{name}.txt"
    if not file.exists():
        file.write_text(text)
        pytest.fail(f"{file} was written: look at it")
    assert text == file.read_text()


@asynccontextmanager
async def opened(
    path: Path, size: tuple[int, int] = (80, 24), *, is_ascii: bool = False, has_colours: bool = True
) -> AsyncGenerator[Screen, None]:
    look = Look(is_ascii=is_ascii, has_colours=has_colours)
    app = Top(Client([path]), look, now=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)
    await until_async(lambda: not any(t.is_alive() for t in app._feed._threads), what="the feed to end")


@pytest.fixture(autouse=True)
def universal_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Screens show times in the reader's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
