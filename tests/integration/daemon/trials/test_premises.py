"""All that an experiment needs of a host is looked for before a claim, and only as often as it takes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.unit.trial.test_premises import with_objective
from tuned.daemon.trials.chores import Here
from tuned.daemon.trials.interpreters import InterpreterUnusable
from tuned.daemon.trials.premises import PremiseMissing, Premises
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Cause, Ending, Failure
from tuned.experiment.experiment import Experiment
from tuned.trial.evaluation import Site
from tuned.trial.launch import Launch


async def unusable(_launch: Launch) -> Ending:
    return Ending(failure=Failure(cause=Cause.EXIT, message="cannot run it", detail={}))


async def test_a_directory_is_looked_for_until_it_is_there_and_again_after_a_crash(tmp_path: Path) -> None:
    work = tmp_path / "work"
    experiment = with_objective(f'command = ["sh"]\nworkdir = "{work}"')
    with StateDirectory.open(tmp_path / "state") as state:
        doubted: list[Experiment] = []
        site = Site(host="h", state=state, cgroups=None, grace_seconds=0)
        premises = Premises(site, unusable, doubted.append, Here(state))
        for _ in range(2):
            with pytest.raises(PremiseMissing, match="there is no such directory"):
                await premises.verify(experiment)
        work.mkdir()
        await premises.verify(experiment)
        work.rmdir()
        await premises.verify(experiment)
        assert doubted == []
        with pytest.raises(PremiseMissing):
            await premises.verify(experiment, since=time.monotonic())
        assert doubted == [experiment]


async def test_the_interpreter_is_one_of_them(tmp_path: Path) -> None:
    experiment = with_objective('python = "m:f"\ninterpreter = "/no/python"')
    with StateDirectory.open(tmp_path / "state") as state:
        site = Site(host="h", state=state, cgroups=None, grace_seconds=0)
        premises = Premises(site, unusable, lambda _: None, Here(state))
        with pytest.raises(InterpreterUnusable, match="cannot run it"):
            await premises.verify(experiment)
