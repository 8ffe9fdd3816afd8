"""A search of two hosts ends on both with the trial that ended it, and none begins after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet
from tests.fleet.ledger import Evaluation, Ledger
from tests.waiting import until

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n[sampler]\nname = "grid"\n'

POINTS = "[[points]]\nx = 5\n[[points]]\nx = 0\n"

#: Point 0, which is the best, waits for another one to begin, and all others for the gate.
PAUSE = """\
if [ $TUNED_PARAM_X = 0 ]; then awaited=busy; else touch HOME/busy; awaited=gate; fi
until [ -e HOME/$awaited ]; do sleep 0.05; done; echo 0\
"""


def gated(ledger: Ledger, home: Path, budget: str) -> str:
    home.mkdir(exist_ok=True)
    objective = ledger.objective(pause=PAUSE.replace("HOME", str(home)))
    return f"{objective}[budget]\ntarget = 1\n{budget}{SPACE}{POINTS}"


def best_of(ledger: Ledger, name: str) -> Evaluation:
    return next(each for each in ledger.evaluations(name) if each.x == 0)


def test_a_target_ends_the_search_on_both_hosts(fleet: Fleet, ledger: Ledger, tmp_path: Path) -> None:
    hosts = fleet.start(2, slots=1)
    fleet.drop("kills", gated(ledger, tmp_path / "kills", 'when_over = "abort"\n'))
    fleet.until_done("kills")
    best = best_of(ledger, "kills")
    number = next(trial["number"] for trial in hosts[0].trials("kills") if trial["params"] == {"x": 0})
    words = f"target 1 reached by trial {number} on {best.host}"
    # A slot asks for its next point while the database is told.
    assert len(ledger.evaluations("kills")) in {2, 3}
    assert all(each.ended is None for each in ledger.evaluations("kills") if each != best)
    for host in hosts:
        summary = host.summary("kills")
        assert (summary["ended_by"], summary["trials"], summary["counts"]["running"]) == (words, 1, 0)
    home = tmp_path / "finishes"
    fleet.drop("finishes", gated(ledger, home, ""))
    until(lambda: best_ended(ledger, "finishes"), what="the best value", seconds=60)
    until(lambda: hosts[0].summary("finishes")["ended_by"], what="the target to be reached")
    assert hosts[1].summary("finishes")["state"] == "open"
    (home / "gate").touch()
    fleet.until_done("finishes")
    assert len(ledger.evaluations("finishes")) in {2, 3}
    assert all(each.value is not None for each in ledger.evaluations("finishes"))


def best_ended(ledger: Ledger, name: str) -> bool:
    return any(each.x == 0 and each.ended is not None for each in ledger.evaluations(name))


def test_a_host_that_dies_after_the_target_was_reached_keeps_nobody_from_the_end(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    hosts, home = fleet.start(2, slots=1), tmp_path / "exp"
    fleet.drop("exp", gated(ledger, home, ""))
    until(lambda: best_ended(ledger, "exp"), what="the best value", seconds=60)
    best = best_of(ledger, "exp")
    [blocked] = [host for host in hosts if host.name != best.host]
    [other] = [host for host in hosts if host is not blocked]
    until(lambda: other.summary("exp")["ended_by"], what="the target to be reached", seconds=60)
    blocked.kill()
    begun = len(ledger.evaluations("exp"))
    (home / "gate").touch()
    other.until_in("done", "exp", seconds=60)
    blocked.start()
    blocked.until_in("done", "exp", seconds=60)
    assert len(ledger.evaluations("exp")) == begun
    assert blocked.summary("exp")["counts"]["running"] == 0
