"""The example's job script on a real Slurm: two steps on one study, time limit, cancellation, requeue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.fleet import Fleet, sleeping
from tests.system.slurm import EXAMPLE, Cluster


@pytest.fixture(scope="module")
def booted(fleet: Fleet) -> Iterator[Cluster]:
    fleet.alpha.restore()
    cluster = Cluster(fleet.alpha)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(booted: Cluster) -> Cluster:
    booted.forget()
    return booted


def test_two_job_steps_work_on_one_study_and_end_with_it(fleet: Fleet, cluster: Cluster) -> None:
    text = cluster.host.read(f"{EXAMPLE}/search.toml")
    job = cluster.submit("steps", text, "--array=1-2", "--ntasks=1", "--cpus-per-task=1")
    cluster.until_said("nothing is left for this host", 2, seconds=120)
    for task in ("1", "2"):
        cluster.until_state(f"{job}_{task}", "COMPLETED")
    trials = fleet.study("steps").trials
    assert sorted(trial.params["x"] for trial in trials) == list(range(-10, 11))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len(fleet.hosts("steps")) == 2


def test_scancel_aborts_and_leaves_nothing_running(fleet: Fleet, cluster: Cluster) -> None:
    job = cluster.submit("cancelled", sleeping("/srv/never"))
    cluster.until_said('"trial started"', 4)
    cluster.host.run("scancel", job)
    cluster.until_said('"state": "stopped"', 2)
    cluster.until_state(job, "CANCELLED")
    assert fleet.states("cancelled") == ["FAIL"] * 4
    assert fleet.causes("cancelled") == ["aborted"] * 4
    assert "sleep" not in cluster.host.run("ps", "-u", "bob", "-o", "comm=", is_checked=False).stdout


def test_the_time_limit_drains_and_the_requeued_job_goes_on_to_the_end(
    fleet: Fleet, cluster: Cluster
) -> None:
    limit = ("--time=2", "--signal=INT@30", "--ntasks=1", "--cpus-per-task=2")
    job = cluster.submit("limited", sleeping("/srv/limited", high=3), *limit)
    cluster.until_said('"trial started"', 2)
    cluster.until_said('"state": "draining"', 1, seconds=150)
    cluster.host.write("/srv/limited", "")
    cluster.until_state(job, "PENDING")
    assert fleet.states("limited") == ["COMPLETE"] * 2
    cluster.until_state(job, "COMPLETED", seconds=150)
    assert fleet.states("limited") == ["COMPLETE"] * 4
    assert len(fleet.hosts("limited")) == 1
