"""The place in which a host evaluates, and what it says of its isolation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.integration.trial.trees import cgroup_root
from tuned.disk.state import StateDirectory
from tuned.trial import cgroup
from tuned.trial.evaluation import Site


def test_why_there_are_no_control_groups_is_logged_and_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_own_group", lambda: tmp_path / "none")
    with StateDirectory.open(tmp_path / "state") as state, capture_logs() as logs:
        site = Site.here(host="h", state=state, grace_seconds=0)
    reason = f"user {os.geteuid()} may not write to {tmp_path}/none"
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
