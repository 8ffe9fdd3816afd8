"""Bad trials end early at the real daemon, by what they print or report; none of them ends by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked, first

EXAMPLE = Path(__file__).parents[2] / "examples" / "pruning"

THRESHOLD = 'name = "threshold"\nupper = 4.5'


def an_experiment(
    printed: str, *, rule: str = THRESHOLD, top: str = "", more: str = "", last: str = "", good: int = 5
) -> str:
    """A walk over x from 0 to 9; each trial prints its report, and a good one its value."""
    # A bad one does not end by itself.
    sleeps = f'[ "$TUNED_PARAM_X" -lt {good} ] || sleep 600'
    script = f"{printed}; {sleeps}; {last or 'echo $TUNED_PARAM_X'}"
    command = json.dumps(["sh", "-c", script.replace("{", "{{").replace("}", "}}")])
    return checked(
        f"{top}\n[objective]\ncommand = {command}\n{more}\n"
        f'[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n[sampler]\nname = "grid"\n[pruner]\n{rule}\n'
    )


@pytest.fixture
def host(make: MakeDaemon, database_url: str) -> Daemon:
    return make(storage=database_url, slots=4).start()


def assert_pruned(daemon: Daemon, name: str, step: int = 3) -> None:
    """Half of the points were pruned, with their report as their value."""
    trials = daemon.study(name).trials
    assert len(trials) == 10
    for trial in trials:
        x = trial.params["x"]
        assert (trial.state, trial.value) == (TrialState.COMPLETE if x < 5 else TrialState.PRUNED, x)
        if x >= 5:
            why = {"rule": "threshold", "step": step, "value": float(x), "bound": 4.5}
            assert trial.user_attrs["PRUNED"] == why
            assert trial.intermediate_values == {step: float(x)}


def test_bad_trials_are_pruned_by_the_lines_that_they_print(host: Daemon) -> None:
    watching = host.watching()
    host.run("lines", an_experiment("""echo "{\\"step\\": 3, \\"value\\": $TUNED_PARAM_X}\""""))
    assert_pruned(host, "lines")
    summary = host.summary("lines")
    assert (summary["counts"]["pruned"], summary["visited"], summary["trials"]) == (5, 10, 10)
    event = first(watching, "trial-ended", state="PRUNED")
    assert event["pruned"]
    assert (event["pruned"]["rule"], event["pruned"]["bound"]) == ("threshold", 4.5)
    number = str(event["trial"])
    assert (
        f"by threshold at step 3: {event['pruned']['value']:g}, bound 4.5; after"
        in host.tunectl("explain", "lines", number).stdout
    )
    assert "threshold at step 3" in host.tunectl("trials", "lines").stdout
    assert "Pruner" in host.tunectl("show", "lines").stdout
    told = [record for record in host.logged() if record["event"] == "trial pruned"]
    assert {(record["rule"], record["step"], record["bound"]) for record in told} == {("threshold", 3, 4.5)}
    assert not [
        pid for pid in host.trial_processes() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_reports_come_from_patterns_and_of_several_objectives_one_counts(host: Daemon) -> None:
    with_step = "[objective.metric]\npattern = 'epoch (?P<step>\\d+) loss=(?P<value>\\S+)'"
    numbered = "[objective.metric]\npattern = 'loss=(?P<value>\\S+)'"
    printed = "echo epoch 3 loss=$TUNED_PARAM_X"
    several = """echo "{\\"step\\": 3, \\"values\\": [-1, $TUNED_PARAM_X]}\""""
    host.drop("steps", an_experiment(printed, more=with_step))
    host.drop("numbered", an_experiment(printed, more=numbered))
    host.drop(
        "several",
        an_experiment(
            several,
            rule=f"{THRESHOLD}\nobjective = 1",
            top='directions = ["minimize", "minimize"]',
            last="""echo "{\\"values\\": [-1, $TUNED_PARAM_X]}\"""",
        ),
    )
    for name in ("steps", "numbered", "several"):
        host.until_in("done", name)
    assert_pruned(host, "steps")
    assert_pruned(host, "numbered", step=0)
    trials = host.study("several").trials
    ends = {trial.params["x"]: (trial.state, trial.values) for trial in trials}
    pruned, complete = TrialState.PRUNED, TrialState.COMPLETE
    assert ends == {x: (complete if x < 5 else pruned, [-1.0, float(x)]) for x in range(10)}


def test_a_median_prunes_what_is_worse_than_the_trials_that_are_complete(host: Daemon) -> None:
    """The walk begins anywhere: three points that are first make the median 1."""
    rule = 'name = "median"\nn_startup_trials = 3'
    first_points = "".join(f"[[points]]\nx = {x}\n" for x in (0, 1, 2))
    text = an_experiment("""echo "{\\"step\\": 0, \\"value\\": $TUNED_PARAM_X}\"""", rule=rule, good=3)
    summary = host.run("median", checked(f"parallel = 1\n{text}{first_points}"))
    assert (summary["counts"]["complete"], summary["counts"]["pruned"]) == (3, 7)
    assert {trial.user_attrs["PRUNED"]["bound"] for trial in host.study("median").trials[3:]} == {1.0}


def test_a_replaced_rule_prunes_what_starts_from_then_on(host: Daemon) -> None:
    gate, file = host.home / "gate", host.home / "exp.toml"
    printed = (
        f"test -e {gate} && late=1; "
        """echo "{\\"step\\": 3, \\"value\\": $TUNED_PARAM_X}\"; """
        f"until test -e {gate}; do sleep 0.05; done"
    )
    last = 'test -z "$late" || test "$TUNED_PARAM_X" -lt 5 || sleep 600; echo $TUNED_PARAM_X'
    # Hyperband tells the sampler which trials to learn from, and ends none that is so young.
    brackets = 'name = "hyperband"\nmin_resource = 100\nmax_resource = 900'
    walked, drawn = 'name = "grid"', 'name = "tpe"\nn_startup_trials = 2'
    text = an_experiment(printed, rule=brackets, last=last, good=10).replace(walked, drawn)
    host.drop("exp", text)
    host.until_running(4)
    early = {trial["number"] for trial in host.trials("exp")}
    file.write_text(text.replace(brackets, THRESHOLD))
    answer = host.tunectl("submit", "--replace", str(file))
    assert (answer.returncode, "threshold" in answer.stdout, answer.stderr) == (0, True, "")
    gate.touch()
    host.until_in("done", "exp")
    trials = [trial for trial in host.trials("exp") if trial["duplicate_of"] is None]
    assert {trial["params"]["x"] for trial in trials} == set(range(10))
    for trial in trials:
        is_bad = trial["number"] not in early and trial["params"]["x"] not in range(5)
        assert trial["state"] == ("PRUNED" if is_bad else "COMPLETE")
        assert (trial["pruned"] and trial["pruned"]["rule"]) == ("threshold" if is_bad else None)
    assert "revision 1 of 2" in host.tunectl("explain", "exp", str(min(early))).stdout


def test_a_retry_evaluates_failed_points_and_leaves_pruned_ones(host: Daemon) -> None:
    mended = host.home / "mended"
    printed = """echo "{\\"step\\": 3, \\"value\\": $TUNED_PARAM_X}\""""
    last = f'test "$TUNED_PARAM_X" -lt 2 || test -e {mended} || exit 7; echo $TUNED_PARAM_X'
    before = host.run("exp", an_experiment(printed, last=last))
    assert before["counts"]["failed"] == 3
    mended.touch()
    answer = host.tunectl("retry", "exp", "--failed")
    assert (answer.stdout, answer.stderr) == ("3 failed points of exp free again; it is open\n", "")
    host.until_in("done", "exp")
    summary = host.summary("exp")
    counts = summary["counts"]
    assert (counts["complete"], counts["failed"], counts["pruned"]) == (5, 3, 5)
    assert (summary["trials"], summary["evaluations"]) == (before["trials"] + 3, before["evaluations"] + 3)
    assert summary["visited"] == 10
    again = host.tunectl("retry", "exp", "--failed").stdout
    assert again == "no point of exp is to be retried\n"
    assert host.summary("exp")["state"] == "done"


PYTHON = """
import optuna, pathlib, time

def objective(trial):
    x = trial.suggest_int("x", 0, 9)
    trial.report(x, 3)
    try:
        # The last one never asks, and the one before does not care.
        if x < 9 and trial.should_prune() and x < 8:
            if x == 7:
                return 70
            raise optuna.TrialPruned
    finally:
        pathlib.Path(__file__).with_name(f"cleaned-{x}").touch()
    if x >= 5:
        time.sleep(600)
    return x
"""


@pytest.mark.parametrize("module", ["tuned", "tests.acceptance.groupless"], ids=["cgroup", "best-effort"])
def test_an_objective_is_told_and_one_that_does_not_end_is_killed(
    make: MakeDaemon, tmp_path: Path, module: str
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(PYTHON)
    daemon = make(slots=5)
    daemon.module = module
    daemon.start()
    objective = f'[objective]\npython = "train:objective"\npath = "{code}"\n'
    space = '[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n[sampler]\nname = "grid"\n'
    daemon.run("told", checked(f"{objective}{space}[pruner]\n{THRESHOLD}"))
    trials = {trial.params["x"]: trial for trial in daemon.study("told").trials}
    pruned = {x for x, trial in trials.items() if trial.state is TrialState.PRUNED}
    assert pruned == {5, 6, 8, 9}
    # As in Optuna: the value of an objective that is told and returns one counts.
    assert (trials[7].state, trials[7].value) == (TrialState.COMPLETE, 70.0)
    assert all(trials[x].user_attrs["PRUNED"]["value"] == x for x in pruned)
    assert {int(path.name.partition("-")[2]) for path in code.glob("cleaned-*")} >= set(range(9))


def test_the_example_prunes_a_training_by_the_pattern_of_its_output(make: MakeDaemon, tmp_path: Path) -> None:
    text = (EXAMPLE / "pruning.toml").read_text()
    # Each epoch takes a moment, as in a real training: otherwise all of it is printed before a decision.
    slow = (EXAMPLE / "fit.py").read_text().replace("flush=True)", "flush=True); time.sleep(0.05)")
    (tmp_path / "fit.py").write_text(slow.replace("import random", "import random, time"))
    daemon = make(slots=4).start()
    text = text.replace("/srv/fit", str(tmp_path)).replace("trials = 40", "trials = 16")
    counts = daemon.run("pruning", text)["counts"]
    assert counts["pruned"] > 0
    assert (counts["failed"], counts["complete"] + counts["pruned"]) == (0, 16)
    reported = [trial for trial in daemon.study("pruning").trials if trial.state is TrialState.PRUNED]
    assert all(trial.user_attrs["PRUNED"]["step"] >= 4 for trial in reported)
    assert sum(len(trial.intermediate_values) for trial in reported) < 40 * len(reported)
    said = daemon.tunectl("check", str(EXAMPLE / "pruning.toml")).stdout
    assert "pruner: median: n_startup_trials 5, n_warmup_steps 4" in said


def test_a_trial_that_reports_nothing_is_told_what_to_print(tmp_path: Path, shared: Daemon) -> None:
    file = tmp_path / "silent.toml"
    file.write_text(an_experiment("true").replace("high = 9", "high = 0"))
    said = shared.tunectl("try", str(file)).stderr
    assert 'print a line such as {"step": 1, "value": 0.5} after each step, and flush it' in said
