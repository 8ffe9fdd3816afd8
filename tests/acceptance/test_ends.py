"""A search ends by itself, says why, kills or finishes what runs, and goes on with other limits."""

from __future__ import annotations

import os
import pwd

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, first, gone
from tests.waiting import until

POINTS = '[sampler]\nname = "grid"\n[[points]]\nx = 5\n[[points]]\nx = 0\n'


#: Point 5 waits for the gate, and point 0, which is the best, for point 5 to begin.
SCRIPT = """
case $TUNED_PARAM_X in 5) touch HOME/busy; awaited=gate;; 0) awaited=busy;; *) awaited=.;; esac
until [ -e HOME/$awaited ]; do sleep 0.05; done
"""


def gated(daemon: Daemon, budget: str) -> str:
    script = SCRIPT.strip().replace("HOME", str(daemon.home))
    return an_experiment(script, more=f"[budget]\n{budget}\n{POINTS}")


def replace(daemon: Daemon, budget: str) -> str:
    file = daemon.home / "exp.toml"
    file.write_text(gated(daemon, budget))
    answer = daemon.tunectl("submit", "--replace", str(file))
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def started(daemon: Daemon, budget: str) -> None:
    stream = daemon.watching()
    daemon.drop("exp", gated(daemon, budget))
    first(stream, "trial-started")


def number_of(daemon: Daemon, x: int) -> int:
    return next(trial["number"] for trial in daemon.trials("exp") if trial["params"] == {"x": x})


def why(daemon: Daemon) -> str | None:
    return daemon.summary("exp")["ended_by"]


def test_a_target_kills_what_runs_and_other_limits_go_on(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url).start()
    started(daemon, 'target = 0\nwhen_over = "abort"')
    said, best = daemon.tunectl("wait", "exp").stdout, number_of(daemon, 0)
    words = f"target 0 reached by trial {best} on alpha"
    assert said == f"exp is done, best trial {best}: {words}\n"
    daemon.until_in("done", "exp")
    until(gone(daemon.trial_processes), what="the killed trial to be gone")
    killed = daemon.trials("exp")[number_of(daemon, 5)]
    assert (killed["state"], killed["failure"] and killed["failure"]["cause"]) == ("FAIL", "aborted")
    assert daemon.summary("exp")["trials"] == daemon.summary("exp")["visited"]
    assert f"exp  {words}" in daemon.tunectl("list").stdout
    over = [record for record in daemon.logged() if record["event"] == "experiment over"]
    assert [record["ended_by"] for record in over] == [words]
    # A target that is still reached opens nothing; another one evaluates the killed point first.
    assert f"nothing can start: {words}" in replace(daemon, "target = 0\ntrials = 9")
    stream = daemon.watching()
    assert "exp is open" in replace(daemon, "target = -1\nstalled = 2")
    assert first(stream, "trial-started")["params"] == {"x": 5}
    until(lambda: why(daemon), what="the search to stall")
    stalled = f"nothing better in 2 evaluations since trial {best}"
    assert (why(daemon), daemon.summary("exp")["state"]) == (stalled, "open")
    # The running trial finishes.
    (daemon.home / "gate").touch()
    daemon.until_in("done", "exp")
    assert (why(daemon), daemon.trials("exp")[-1]["state"]) == (stalled, "COMPLETE")


def test_a_cancelled_search_says_who_cancelled_it(shared: Daemon) -> None:
    started(shared, "trials = 9")
    stream = shared.watching()
    assert shared.tunectl("cancel", "exp").returncode == 0
    words = f"cancelled by {pwd.getpwuid(os.geteuid()).pw_name}"
    assert first(stream, "experiment-state", state="cancelled")["ended_by"] == words
    assert shared.tunectl("wait", "exp").stdout.endswith(f": {words}\n")
