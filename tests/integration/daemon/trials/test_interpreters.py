"""The interpreters of a host: looked at by running them, and only as often as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import pythons
from tests.integration.trial.starting import run
from tuned.daemon.trials import interpreters
from tuned.daemon.trials.interpreters import Interpreters, InterpreterUnusable
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Ending
from tuned.experiment.experiment import Experiment, parse
from tuned.trial.evaluation import Site
from tuned.trial.launch import Launch

pytestmark = pytest.mark.usefixtures("_subreaper")


class Host:
    """A host that counts its looks."""

    def __init__(self, site: Site) -> None:
        self.looks = 0
        self.interpreters = Interpreters(site, self._carry_out)

    async def problem(self, python: Path | str, *, since: float | None = None, env: str = "") -> str:
        try:
            experiment = with_interpreter(python, env)
            if since is None:
                await self.interpreters.verify(experiment)
            else:
                await self.interpreters.verify(experiment, since=since)
        except InterpreterUnusable as error:
            return str(error)
        return ""

    async def _carry_out(self, launch: Launch) -> Ending:
        self.looks += 1
        return await run(launch)


def with_interpreter(python: Path | str, env: str = "") -> Experiment:
    content = f"""
        name = "exp"
        [objective]
        python = "train:objective"
        interpreter = "{python}"
        env = {{ {env} }}
        [space.x]
        type = "int"
        low = 0
        high = 9
    """
    return parse(content.encode(), "exp.toml")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with StateDirectory.open(tmp_path / "state") as state:
        yield Host(Site(host="h", state=state, cgroups=None, grace_seconds=0))


async def test_the_environment_of_the_experiment_is_part_of_it(host: Host, tmp_path: Path) -> None:
    python = pythons.environment(tmp_path / "venv")
    assert "cannot use" in await host.problem(python, env='PYTHONHOME = "/no/where"')
    assert await host.problem(python) == ""
    assert host.looks == 2


async def test_one_that_will_do_is_looked_at_again_only_after_a_crash(host: Host, tmp_path: Path) -> None:
    python = pythons.environment(tmp_path / "venv")
    assert await asyncio.gather(*(host.problem(python) for _ in range(4))) == [""] * 4
    assert host.looks == 1
    crashed = time.monotonic()
    assert await asyncio.gather(*(host.problem(python, since=crashed) for _ in range(4))) == [""] * 4
    assert host.looks == 2


async def test_one_that_failed_is_looked_at_again_when_its_pause_is_over(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    assert all(await asyncio.gather(*(host.problem(python) for _ in range(4))))
    assert host.looks == 1
    pythons.environment(tmp_path / "venv")
    monkeypatch.setattr(interpreters, "REMEMBERED_SECONDS", 0.0)
    assert await host.problem(python) == ""


async def test_an_experiment_in_our_own_python_is_not_looked_at(host: Host) -> None:
    own = parse(
        b'name = "exp"\n[objective]\npython = "a:b"\n[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n', "exp.toml"
    )
    await host.interpreters.verify(own)
    assert host.looks == 0
