"""Limits of a trial, against made-up control groups: controllers, what is written, and what is not kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from tests.factories import line
from tests.integration.trial.made_up import MadeUp
from tuned.disk import trial_log
from tuned.disk.state import StateDirectory
from tuned.domain.claim import Candidate, Claimed, Origin
from tuned.domain.ending import Cause, Ending
from tuned.experiment.experiment import parse
from tuned.experiment.resources import Resources
from tuned.keeper.runs import Runs
from tuned.trial import cgroup
from tuned.trial.cgroup import Cgroup, Root
from tuned.trial.evaluation import Evaluation, Site, evaluate
from tuned.worker.forkserver import TRIALS

pytestmark = pytest.mark.usefixtures("_subreaper")

ALL = ("memory", "cpu", "pids", "io")
LIMITED = Resources(memory=2**32, cpus=1.5, pids=512, gpus=1.0)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.mkdir()
    return path


@pytest.fixture
def made_up(own: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    return MadeUp(own, *ALL, monkeypatch=monkeypatch)


def found() -> Root:
    root = cgroup.find()
    assert isinstance(root, Root)
    return root


# Controllers


def test_a_delegated_group_gives_its_controllers_to_trials(made_up: MadeUp) -> None:
    root = found()
    assert root.controllers == {"memory", "cpu", "pids"}
    assert made_up.words("supervisor", "cgroup.procs") == {str(os.getpid())}
    for group in (".", "trials"):
        assert made_up.words(group, "cgroup.subtree_control") == {"memory", "cpu", "pids"}


def test_what_is_not_there_is_not_asked_for(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUp(own, "pids", "io", monkeypatch=monkeypatch)
    assert found().controllers == {"pids"}


def test_a_controller_that_cannot_be_enabled_costs_no_other(made_up: MadeUp) -> None:
    made_up.refused.add("+cpu")
    assert found().controllers == {"memory", "pids"}


def test_a_group_that_is_not_ours_alone_is_left_as_it_is(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUp(own, *ALL, monkeypatch=monkeypatch, is_delegated=False)
    assert found().controllers == frozenset()
    assert made_up.words(".", "cgroup.subtree_control") == set()


def test_a_daemon_that_starts_again_finds_the_same(made_up: MadeUp) -> None:
    assert found() == found()
    assert made_up.words("supervisor", "cgroup.procs") == {str(os.getpid())}


# Limits


def limited(root: Root, limits: Resources = LIMITED) -> Cgroup:
    group = root.create("one")
    group.limit(limits.of_group, root.controllers)
    return group


def contents(group: Cgroup) -> dict[str, str]:
    files = ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
    return {name: (group.path / name).read_text() for name in files if (group.path / name).exists()}


@pytest.mark.usefixtures("made_up")
def test_limits_are_written_as_the_kernel_takes_them() -> None:
    assert contents(limited(found())) == {
        "memory.max": "4294967296",
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "512",
    }


@pytest.mark.usefixtures("made_up")
def test_who_asks_for_no_limit_has_none() -> None:
    assert contents(found().create("one")) == {
        "memory.max": "max",
        "memory.swap.max": "max",
        "cpu.max": "max 100000",
        "pids.max": "max",
    }


def test_a_kernel_without_swap_accounting_does_as_well(made_up: MadeUp) -> None:
    root = found()
    monitored = root.create("one")
    (monitored.path / "memory.swap.max").unlink()
    monitored.limit(LIMITED.of_group, root.controllers)
    assert "memory.swap.max" not in contents(monitored)
    assert contents(monitored)["memory.max"] == str(2**32)
    assert made_up.own == root.path.parent


def test_a_limit_without_its_controller_is_left_out(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUp(own, "pids", monkeypatch=monkeypatch)
    assert contents(limited(found())) == {"pids.max": "512"}


def test_a_limit_that_the_kernel_refuses_is_told(made_up: MadeUp) -> None:
    made_up.refused.add("512")
    with pytest.raises(OSError, match=r"Invalid argument: '.*/trials/one/pids\.max'"):
        limited(found())


def test_a_place_that_was_made_anew_has_its_controllers_again(made_up: MadeUp) -> None:
    root = found()
    root.remove()
    assert not root.path.exists()
    assert contents(limited(root))["pids.max"] == "512"
    assert made_up.words("trials", "cgroup.subtree_control") == {"memory", "cpu", "pids"}


# Limits that are not kept


def test_what_is_kept_is_not_spoken_of() -> None:
    root = Root(Path("/nowhere"), frozenset({"memory", "cpu", "pids"}))
    assert cgroup.unenforced(LIMITED, root) == ""
    assert cgroup.unenforced(Resources(gpus=1.0), None) == ""


def test_each_limit_that_is_not_kept_is_told_with_its_reason() -> None:
    assert cgroup.unenforced(LIMITED, Root(Path("/nowhere"), frozenset({"pids"}))) == (
        "trials run without the limit memory 4G, cpus 1.5: this host has no controller for memory, cpu"
    )
    assert cgroup.unenforced(Resources(pids=64), None) == (
        "trials run without the limit pids 64: this host has no control groups (isolation best-effort)"
    )


# The way of a trial


async def evaluated(tmp_path: Path, script: str) -> Ending:
    """A trial with limits; to its script, $1 is the group that it is in."""
    group = f"$(dirname $(grep -lx $$ {tmp_path}/own/trials/*/cgroup.procs))"
    argv = json.dumps(["sh", "-c", f"set -- {group}; {script}"])
    return await _evaluated(tmp_path, f"command = {argv}")


async def _evaluated(tmp_path: Path, objective: str) -> Ending:
    text = f'[resources]\nmemory = "64M"\npids = 9\n[objective]\n{objective}\n{line(1)}'
    experiment = parse(text.replace("{", "{{").replace("}", "}}").encode(), "limited.toml")
    candidate = Candidate(point=experiment.space.at(0), origin=Origin.WALK)
    claimed = Claimed(study_id=1, trial_id=1, number=0, replica=0, candidate=candidate, incarnation="i")
    with StateDirectory.open(tmp_path / "state") as state:
        site = Site(host="h1", state=state, cgroups=found(), grace_seconds=0)
        runs = Runs(slots=TRIALS)
        evaluation = Evaluation(
            experiment=experiment,
            definition="",
            study_uid="u",
            claimed=claimed,
            site=site,
            slot=0,
            carry_out=runs.run,
        )
        try:
            return await evaluate(evaluation, AsyncMock(return_value=False))
        finally:
            await runs.close()
            await trial_log.all_written()


def printed(tmp_path: Path) -> str:
    """The output of all trials: one that has begun has printed something."""
    return "".join(log.read_text() for log in tmp_path.rglob("output.log"))


def groups(made_up: MadeUp) -> list[Path]:
    return [path for path in (made_up.own / "trials").iterdir() if path.is_dir()]


async def test_a_trial_begins_within_its_limits_and_leaves_no_group(made_up: MadeUp, tmp_path: Path) -> None:
    ending = await evaluated(tmp_path, "echo $(cat $1/memory.max).$(cat $1/pids.max)")
    assert ending.values == (64 * 2**20 + 0.9,)
    assert printed(tmp_path)
    assert groups(made_up) == []


async def test_a_trial_of_a_python_objective_has_its_limits_and_the_import_and_the_waiting_have_none(
    made_up: MadeUp, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(f"""
from pathlib import Path
def objective(trial):
    limits = [file.read_text().strip() for file in Path({str(tmp_path)!r}).glob("own/trials/*/pids.max")]
    return limits.count("9") + limits.count("max") / 10  # the import, and those that still wait
""")
    ending = await _evaluated(tmp_path, f'python = "train:objective"\npath = "{tmp_path}"')
    assert ending.values == (1 + TRIALS / 10,)
    assert groups(made_up) == []


async def test_a_trial_that_was_killed_for_want_of_memory_says_so(made_up: MadeUp, tmp_path: Path) -> None:
    ending = await evaluated(tmp_path, 'echo "oom_kill 1" > $1/memory.events; kill -KILL $$')
    assert ending.failure is not None
    assert ending.failure.cause is Cause.OOM
    assert groups(made_up) == []


async def test_a_trial_whose_limit_is_refused_does_not_begin(made_up: MadeUp, tmp_path: Path) -> None:
    made_up.refused.add("9")
    with pytest.raises(OSError, match=r"pids\.max"):
        await evaluated(tmp_path, "echo 1")
    assert groups(made_up) == []
    assert not printed(tmp_path)
