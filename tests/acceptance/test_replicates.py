"""Replicates at the real daemon: each charged, tried again alone, and one value in the end."""

from __future__ import annotations

import json
from pathlib import Path

from optuna.trial import TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked
from tests.waiting import until

#: A replicate's value is its number, and the second one of x = 1 crashes once.
SCRIPT = """
echo "$1 $TUNED_REPLICATE $TUNED_ATTEMPT" >> "$0"
test "$1 $TUNED_REPLICATE $TUNED_ATTEMPT" = "1 2 1" && exit 3
r=$TUNED_REPLICATE
printf '{"step": 7, "value": 99}\\n{"value": %s, "constraints": {"c": %s}}\\n' $r $r
"""


def file(counted: Path, more: str, script: str = SCRIPT) -> str:
    text = json.dumps(script.replace("{", "{{").replace("}", "}}"))
    return checked(
        f'parallel = 1\n[objective]\ncommand = ["sh", "-c", {text}, "{counted}", "{{x}}"]\n'
        f'[space.x]\ntype = "int"\nlow = 0\nhigh = 2\n[sampler]\nname = "grid"\n{more}'
    )


def test_a_trial_has_the_reduction_of_its_replicates(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url).start()
    counted = daemon.home / "counted"
    more = '[retry]\nattempts = 1\n[replicates]\ncount = 3\nreduce = "median"\n'
    summary = daemon.run("exp", file(counted, more))
    assert (summary["trials"], summary["evaluations"], summary["counts"]["complete"]) == (3, 10, 3)
    trials = {trial.params["x"]: trial for trial in daemon.study("exp").trials}
    for trial in trials.values():
        assert (trial.value, trial.constraints) == (2.0, {"c": 2.0})
        assert trial.intermediate_values == {1: 1.0, 2: 2.0, 3: 3.0}
        assert trial.user_attrs["REPLICATES"] == [[1.0], [2.0], [3.0]]
    assert trials[1].user_attrs["RETRIED"][0]["replicate"] == 2
    begun = [line for line in counted.read_text().splitlines() if line.startswith("1")]
    assert begun == ["1 1 1", "1 2 1", "1 2 2", "1 3 1"]
    story = daemon.tunectl("explain", "exp", str(trials[1].number)).stdout
    assert "1, 2, 3 (3 of 3; median)" in story
    assert "replicate 2: exit status 3" in story
    output = daemon.tunectl("logs", "exp", str(trials[0].number)).stdout
    assert [line for line in output.splitlines() if "[tuned" in line] == [
        f"[tuned: replicate {n} of 3]" for n in (1, 2, 3)
    ]


def test_a_budget_that_ends_between_replicates_is_exact(shared: Daemon) -> None:
    counted, script = shared.home / "budget", 'echo "$1" >> "$0"; echo $TUNED_REPLICATE'
    more = "[replicates]\ncount = 4\n[budget]\nevaluations = 6\n"
    summary = shared.run("short", file(counted, more, script))
    assert (summary["trials"], summary["evaluations"], len(counted.read_text().splitlines())) == (2, 6, 6)
    first, last = shared.study("short").trials
    assert (first.value, last.value, last.user_attrs["REPLICATES"]) == (2.5, 1.5, [[1.0], [2.0]])


def test_a_daemon_that_is_killed_between_replicates_leaves_nothing_and_the_budget_is_exact(
    make: MakeDaemon, database_url: str
) -> None:
    daemon = make(storage=database_url).start()
    counted, go = daemon.home / "counted", daemon.home / "go"
    script = (
        'echo "$1 $TUNED_REPLICATE" >> "$0"; '
        f"while test $TUNED_REPLICATE = 2 && ! test -e {go}; do sleep 0.05; done; echo $TUNED_REPLICATE"
    )
    more = "[replicates]\ncount = 3\n[budget]\ntrials = 1\n"
    daemon.drop("exp", file(counted, more, script))
    until(lambda: counted.exists() and "2" in counted.read_text().split()[1::2], what="the second replicate")
    assert " 2 of 3 " in daemon.tunectl("status").stdout
    daemon.kill()
    go.touch()
    daemon.start()
    daemon.until_in("done", "exp")
    summary = daemon.summary("exp")
    # The first replicate of the lost trial had ended by itself: it stays charged.
    assert (summary["trials"], summary["evaluations"], summary["counts"]["running"]) == (1, 4, 0)
    lost, again = daemon.study("exp").trials
    assert (lost.state, again.value, again.params) == (TrialState.FAIL, 2.0, lost.params)
    assert daemon.trial_processes() == set()


def test_a_rule_ends_a_trial_between_its_replicates(shared: Daemon) -> None:
    script = 'echo begun >> "$0"; test $TUNED_REPLICATE = 1 || sleep 100; echo 9'
    counted = shared.home / "pruned"
    more = '[replicates]\ncount = 5\n[pruner]\nname = "threshold"\nupper = 5\n'
    summary = shared.run("pruned", file(counted, more, script))
    assert summary["counts"]["pruned"] == 3
    # The rule may have been quicker than the second replicate, or than its charge.
    assert 3 <= len(counted.read_text().splitlines()) <= summary["evaluations"] <= 6
    for trial in shared.study("pruned").trials:
        assert (trial.state, trial.value) == (TrialState.PRUNED, 9.0)
        assert trial.intermediate_values == {1: 9.0}
        assert trial.user_attrs["PRUNED"]["rule"] == "threshold"
