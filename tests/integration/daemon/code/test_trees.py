"""Code on a host: fetched, unpacked and set up once, and again when somebody changed it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.factories import linked
from tests.waiting import until_async
from tuned.config.trials_service import TrialsService
from tuned.daemon.code import trees
from tuned.daemon.code.trees import CodeMissing, CodeTrees
from tuned.daemon.trials.chores import Here
from tuned.disk.code import archive
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Cause, Ending, Failure
from tuned.errors import NotFound
from tuned.experiment.experiment import Experiment, parse
from tuned.keeper.conversation import KeeperLost
from tuned.storage import snapshots
from tuned.trial.evaluation import Site
from tuned.trial.launch import Launch

NO_VALUE = Failure(cause=Cause.NO_VALUE, message="no value")


@dataclass(slots=True)
class Runner:
    """Carries set-ups out."""

    failure: Failure = NO_VALUE
    is_lost: bool = False
    launches: list[Launch] = field(default_factory=list)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, launch: Launch) -> Ending:
        self.launches.append(launch)
        await self.may_end.wait()
        if self.is_lost:
            raise KeeperLost("the process that runs the trials ended")
        return Ending(failure=self.failure)


@dataclass(slots=True)
class Home:
    code: CodeTrees
    runner: Runner
    experiment: Experiment
    changes: list[int]
    site: Site


@asynccontextmanager
async def at_home(
    url: str, home: Path, keys: str = "", service: TrialsService | None = None
) -> AsyncIterator[Home]:
    """With another home of trials, if there is a service; its user is our own."""
    (home / "code").mkdir()
    (home / "code" / "run").write_text("1\n")
    text = f'[objective]\ncommand = ["./run"]\n[code]\ndir = "/x"\n{keys}\n'
    text += '[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'
    with (home / "archive").open("wb") as into:
        manifest = archive.take(home / "code", into, file="exp.toml", limit=2**20)
    async with linked(url) as link:
        with StateDirectory.open(home / "state", has_trials=service is None) as state:
            await link.call(snapshots.keep, home / "archive", manifest)
            runner, changes = Runner(), list[int]()
            runner.may_end.set()
            site = Site(host="h", state=state, cgroups=None, grace_seconds=0, service=service)
            code = CodeTrees(link, site, runner, lambda: changes.append(1), Here(site.layout))
            experiment = parse(text.encode(), "exp.toml").with_snapshot(manifest.digest)
            yield Home(code, runner, experiment, changes, site)
            await code.end()


def looked_at(placed: Experiment) -> tuple[int, str]:
    tree = Path(placed.tree)
    return tree.stat().st_ino, (tree / "run").read_text()


def is_there(placed: Experiment) -> bool:
    return Path(placed.tree).exists()


def left_unfinished(site: Site) -> Path:
    """A part of a tree that is not there."""
    left = site.layout.code / ".new-x.packed"
    left.touch()
    return left


def spoil(placed: Experiment) -> None:
    Path(placed.tree).chmod(0o755)
    Path(placed.tree, "run").unlink()


async def test_code_is_unpacked_once_and_again_when_it_was_changed(database_url: str, tmp_path: Path) -> None:
    async with at_home(database_url, tmp_path) as home:
        assert all(await asyncio.gather(*(home.code.is_ready(home.experiment) for _ in range(3))))
        placed = home.code.placed(home.experiment)
        inode, text = looked_at(placed)
        assert text == "1\n"
        assert placed.objective.workdir == placed.tree
        home.code.doubt(placed)
        assert await home.code.is_ready(home.experiment)
        assert looked_at(placed) == (inode, "1\n")
        spoil(placed)
        home.code.doubt(placed)
        assert await home.code.is_ready(home.experiment)
        assert looked_at(placed)[1] == "1\n"
        assert home.runner.launches == []


async def test_no_slot_waits_for_a_long_set_up(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "SOON_SECONDS", 0.01)
    async with at_home(sqlite_url, tmp_path, 'setup = ["make", "{code}"]\nsetup_timeout = 5') as home:
        home.runner.may_end.clear()
        assert not await home.code.is_ready(home.experiment)
        assert home.code.pending(home.experiment) == (
            "its code is being prepared on this host (tunectl logs exp --setup)"
        )
        await until_async(lambda: home.runner.launches, what="the set-up")
        home.runner.may_end.set()
        await until_async(lambda: home.changes, what="the end of the set-up")
        assert home.code.pending(home.experiment) == ""
        assert await home.code.is_ready(home.experiment)
        [launch] = home.runner.launches
        tree = home.code.placed(home.experiment).tree
        assert (launch.argv[-2:], str(launch.workdir)) == (("make", tree), tree)
        assert (launch.timeout_seconds, launch.environment["TUNED_CODE"]) == (5.0, tree)


async def test_a_failed_set_up_says_why_and_is_tried_again(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path, 'setup = ["make"]') as home:
        home.runner.failure = Failure(cause=Cause.EXIT, message="exit status 2: no rule")
        for _ in range(2):
            with pytest.raises(CodeMissing, match=r"code.setup failed: exit status 2: no rule; .* --setup"):
                await home.code.is_ready(home.experiment)
        assert len(home.runner.launches) == 2
        home.runner.is_lost = True
        with pytest.raises(OSError, match="the process that runs the trials ended"):
            await home.code.is_ready(home.experiment)
        home.runner.is_lost, home.runner.failure = False, NO_VALUE
        assert await home.code.is_ready(home.experiment)
        with pytest.raises(NotFound, match="no set-up of exp has run on this host"):
            await home.code.setup_log("exp", json.loads(home.experiment.definition()))


async def test_trees_lie_in_the_home_of_trials_and_the_set_up_has_their_environment(
    sqlite_url: str, tmp_path: Path
) -> None:
    service = TrialsService(user="trials", socket=tmp_path / "s", home=tmp_path / "home")
    (service.home / "code").mkdir(parents=True)
    async with at_home(sqlite_url, tmp_path, 'setup = ["make"]', service) as home:
        home.site.learn(None, "", {"OWN": "yes"}, [])
        assert await home.code.is_ready(home.experiment)
        tree = Path(home.code.placed(home.experiment).tree)
        assert (tree.parent, (tree / "run").read_text()) == (service.home / "code", "1\n")
        assert not home.site.state.code.exists()
        [launch] = home.runner.launches
        assert (launch.environment["OWN"], "PATH" in launch.environment) == ("yes", False)


async def test_what_an_earlier_daemon_left_unfinished_is_removed_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with at_home(sqlite_url, tmp_path) as home:
        left = left_unfinished(home.site)
        assert await home.code.is_ready(home.experiment)
        assert not left.exists()
        left = left_unfinished(home.site)
        await home.code.clear()
        assert left.exists()


async def test_code_that_the_database_does_not_have_is_told(sqlite_url: str, tmp_path: Path) -> None:
    async with at_home(sqlite_url, tmp_path) as home:
        other = home.experiment.with_snapshot("0" * 64)
        with pytest.raises(CodeMissing, match="snapshot 000000000000 of its code is not in the database"):
            await home.code.is_ready(other)


async def test_what_is_used_stays_and_the_rest_goes_after_two_weeks(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_home(sqlite_url, tmp_path) as home:
        await home.code.is_ready(home.experiment)
        placed = home.code.placed(home.experiment)
        await home.code.tidy([])
        assert is_there(placed)
        monkeypatch.setattr(snapshots, "UNUSED_SECONDS", -1.0)
        await home.code.tidy([home.experiment])
        assert is_there(placed)
        await home.code.tidy([])
        assert not is_there(placed)
        assert await home.code.is_ready(home.experiment)
