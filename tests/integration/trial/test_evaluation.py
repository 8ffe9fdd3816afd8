"""One evaluation: its directories, and the isolation of the host on which it runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from tests.factories import line
from tests.integration.trial.starting import Started, serving
from tests.integration.trial.trees import cgroup_root
from tuned.disk import trial_log
from tuned.disk.state import StateDirectory
from tuned.disk.users import described
from tuned.domain.claim import Candidate, Claimed, Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.experiment.experiment import Retry, parse
from tuned.trial import cgroup
from tuned.trial.evaluation import Evaluation, Site, evaluate
from tuned.trial.evaluation import _progress as progress_of
from tuned.trial.fork_servers import ForkServer, ServerProgram
from tuned.trial.keeping import Run, Watcher
from tuned.trial.launch import Launch, Outputs, Start
from tuned.trial.progress import decode, encode
from tuned.trial.tree import Tree

pytestmark = pytest.mark.usefixtures("_subreaper")


def test_why_there_are_no_control_groups_is_logged_and_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_own_group", lambda: tmp_path / "none")
    with StateDirectory.open(tmp_path / "state") as state, capture_logs() as logs:
        site = Site.here(host="h", state=state, grace_seconds=0)
    reason = f"{described(os.geteuid())} may not write to {tmp_path}/none"
    assert [(log["event"], log["reason"]) for log in logs] == [("no control groups", reason)]
    [finding] = site.findings()
    assert (finding["code"], finding["what"]) == (
        "no-control-groups",
        f"trials run without control groups: {reason}",
    )


def test_with_control_groups_there_is_nothing_to_say(tmp_path: Path) -> None:
    with (
        cgroup_root() as (root, _),
        StateDirectory.open(tmp_path / "state") as state,
        capture_logs() as logs,
    ):
        site = Site.here(host="h", state=state, grace_seconds=0)
        assert (site.cgroups, site.findings(), logs) == (root, [], [])


# Disks


def evaluation(state: StateDirectory, start: Start) -> Evaluation:
    experiment = parse(f'[objective]\ncommand = ["sh", "-c", "echo 1"]\n{line(1)}'.encode(), "e.toml")
    candidate = Candidate(point=experiment.space.at(0), origin=Origin.WALK)
    claimed = Claimed(study_id=1, trial_id=1, number=7, replica=0, candidate=candidate, incarnation="i")
    site = Site(host="h", state=state, cgroups=None, grace_seconds=0)
    carry_out = Started(start=start).run
    return Evaluation(
        experiment=experiment,
        definition=experiment.whole(),
        study_uid="u",
        claimed=claimed,
        site=site,
        slot=0,
        carry_out=carry_out,
    )


@pytest.fixture
async def server() -> AsyncIterator[ForkServer]:
    async with serving(ServerProgram.of_commands()) as server:
        yield server


@pytest.fixture
def trial(tmp_path: Path, server: ForkServer) -> Iterator[Evaluation]:
    with StateDirectory.open(tmp_path / "state") as state:
        yield evaluation(state, server.start)


async def test_directories_are_made_private_and_the_empty_ones_are_gone_at_the_end(
    trial: Evaluation, server: ForkServer
) -> None:
    seen: list[int] = []

    async def start(launch: Launch, outputs: Outputs) -> Tree:
        point, work = trial.point_directory, trial.files.work
        made = (point, point.parent, work, work.parent, work.parent.parent)
        seen.extend(each.stat().st_mode & 0o777 for each in made)
        return await server.start(launch, outputs)

    trial.carry_out = Started(start=start).run
    assert (await evaluate(trial, AsyncMock(return_value=False))).values == (1.0,)
    await trial_log.all_written()
    # The daemon may be another user of the group: it reads what trials leave.
    assert seen == [0o750] * 5
    assert [path.name for path in trial.files.directory.iterdir()] == ["output.log"]
    assert not trial.point_directory.exists()


async def test_a_disk_without_room_is_this_hosts_trouble(trial: Evaluation) -> None:
    trial.site.state.points.rmdir()
    with pytest.raises(FileNotFoundError):
        await evaluate(trial, AsyncMock(return_value=False))


# Another daemon


async def test_the_attempt_that_an_earlier_daemon_began_goes_on_and_the_next_one_knows_nothing_of_it(
    trial: Evaluation,
) -> None:
    carry_out, seen = trial.carry_out, []
    trial.experiment = replace(trial.experiment, retry=Retry(attempts=1))

    async def resume(run: Run, _: Watcher) -> Ending:
        seen.append((run.key, dict(trial.system_attrs)))
        return Ending(failure=Failure(cause=Cause.EXIT, message="exit status 3", detail={"status": 3}))

    async def again(run: Run, watcher: Watcher) -> Ending:
        seen.append((run.key, dict(trial.system_attrs)))
        return await carry_out(run, watcher)

    trial.carry_out = again
    progress = decode(encode(progress_of(trial)))
    trial.go_on(progress, resume, {"completed_rung_0": 0.5})
    ending = await evaluate(trial, AsyncMock(return_value=True))
    claim = trial.claimed.claim_id
    assert seen == [(f"{claim}-1-1", {"completed_rung_0": 0.5}), (f"{claim}-1-2", {})]
    assert (ending.values, [each.cause for each in ending.retried]) == ((1.0,), [Cause.EXIT])
