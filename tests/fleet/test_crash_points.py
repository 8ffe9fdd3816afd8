"""Wherever a daemon ends or loses its line, its next start leads to the same end: nothing twice or lost.

The faults are those of ``faulty``; each start of the daemon meets the next one, and the last start none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.faulty import CRASHED
from tests.fleet.hosts import Fleet, FleetHost, claims_of
from tests.fleet.ledger import Ledger
from tests.fleet.verdict import Budget, Study, cause_of
from tests.waiting import until

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

BUDGET = Budget(points=60, evaluations=24)

SEARCH = """
[space.x]
type = "int"
low = 0
high = 59
[sampler]
name = "random"
[budget]
evaluations = 24
[dedup]
on_complete = "resample"
"""


def faulty(fleet: Fleet) -> FleetHost:
    [host] = fleet.add(1)
    host.module = "tests.fleet.faulty"
    return host


def meets(host: FleetHost, fault: str) -> None:
    """Starts the daemon, which ends there."""
    host.environment = {"FAULTS": fault}
    host.launch()
    assert host.until_crashed() == CRASHED, f"{fault}: {host.log_tail()}"


def recovers(host: FleetHost, fleet: Fleet, ledger: Ledger) -> None:
    """A last start without faults ends the experiment, and every promise was kept."""
    host.environment = {"FAULTS": ""}
    host.start()
    fleet.until_done("exp")
    is_kept(fleet, ledger)


def is_kept(fleet: Fleet, ledger: Ledger) -> None:
    hosts = {host.name: host for host in fleet.hosts}
    claims = claims_of(fleet.storage, "exp")
    verdict = Study(fleet.study("exp"), ledger.evaluations("exp"), hosts, set(), claims=claims).judge(BUDGET)
    assert not {promise: broken for promise, broken in verdict.broken.items() if broken}


@pytest.mark.parametrize(
    "faults",
    [
        # Until the commit nothing of a transaction stands, so one of its statements is as good as another.
        ("claim:statement:2", "claim:commit:2", "claim:committed:2"),
        ("tell:statement:3", "tell:commit:2", "tell:committed:2"),
        ("outbox:put:2", "outbox:kept:2", "beat:committed:2"),
    ],
)
def test_a_crash_costs_nothing_but_what_ran(fleet: Fleet, ledger: Ledger, faults: tuple[str, ...]) -> None:
    host = faulty(fleet)
    host.drop("exp", ledger.objective(pause="echo 0.05") + SEARCH)
    for fault in faults:
        meets(host, f"crash:{fault}")
    recovers(host, fleet, ledger)


def test_a_crash_while_it_settles_what_a_crash_left_settles_it_once(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    host = faulty(fleet)
    host.drop("exp", ledger.objective(pause=f"until [ -e {gate} ]; do sleep 0.1; done; echo 0") + SEARCH)
    host.environment = {"FAULTS": ""}
    host.start()
    until(lambda: len(ledger.evaluations("exp")) == 2, what="two points to be evaluated", seconds=60)
    host.kill()
    for place in ("statement:3", "committed:1"):
        meets(host, f"crash:settle:{place}")
    gate.touch()
    recovers(host, fleet, ledger)
    causes = [cause_of(trial) for trial in fleet.study("exp").get_trials(deepcopy=False)]
    assert [cause for cause in causes if cause is not None] == ["lost", "lost"]
    assert fleet.query("SELECT DISTINCT losses FROM t_point WHERE losses > 0") == [(1,)]


def test_a_commit_whose_answer_is_lost_counts_once_whether_it_was_carried_out_or_not(
    fleet: Fleet, ledger: Ledger
) -> None:
    host = faulty(fleet)
    faults = [
        f"cut:{operation}:{place}" for operation in ("claim", "tell") for place in ("commit:2", "committed:4")
    ]
    faults += ["cut:claim:statement:14", "cut:tell:statement:14", "cut:beat:committed:3", "cut:beat:commit:5"]
    host.environment = {"FAULTS": " ".join(faults)}
    host.drop("exp", ledger.objective(pause="echo 0.2") + SEARCH)
    host.start()
    fleet.until_done("exp")
    assert host.log.read_text().count("cut at ") == len(faults)
    is_kept(fleet, ledger)
    # Nothing of it was lost or begun anew: what was claimed was adopted, what was told was told.
    assert {cause_of(trial) for trial in fleet.study("exp").get_trials(deepcopy=False)} == {None}
    assert (
        len({e.x for e in ledger.evaluations("exp")}) == len(ledger.evaluations("exp")) == BUDGET.evaluations
    )
