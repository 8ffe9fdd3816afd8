"""A program's input, how it gives its values, how it fails, and that it ends when it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked, is_alive, resident_megabytes
from tests.integration.trial.trees import double_fork, pid_in
from tests.waiting import until

CHECKPOINT = Path(__file__).parents[2] / "examples" / "checkpoint"


def an_experiment(command: list[str] | str, *, objective: str = "", more: str = "", xs: int = 1) -> str:
    """A command, or a script for sh with its braces as they are, over x from 0, on one slot."""
    script = "" if isinstance(command, list) else command.replace("{", "{{").replace("}", "}}")
    argv = command if isinstance(command, list) else ["sh", "-c", script]
    return checked(
        f"parallel = 1\n[objective]\ncommand = {json.dumps(argv)}\n{objective}\n"
        f'[space.x]\ntype = "int"\nlow = 0\nhigh = {xs - 1}\n[sampler]\nname = "grid"\n{more}'
    )


def run(daemon: Daemon, name: str, text: str) -> FrozenTrial:
    """Its only trial, as Optuna reads it."""
    daemon.run(name, text, 60)
    trials = daemon.study(name).trials
    assert len(trials) == 1, trials
    return trials[0]


def failure(daemon: Daemon, name: str, text: str) -> dict[str, object]:
    trial = run(daemon, name, text)
    assert trial.state is TrialState.FAIL
    found: dict[str, object] = trial.user_attrs["FAILURE"]
    return found


def output(daemon: Daemon, name: str, trial: int = 0) -> str:
    printed = daemon.tunectl("logs", name, str(trial))
    assert printed.returncode == 0, printed.stderr
    return printed.stdout


# Its input


def test_arguments_have_the_parameters(shared: Daemon) -> None:
    run(
        shared,
        "arguments",
        an_experiment(["sh", "-c", 'echo "$@"; echo 1', "sh", "--x={x}", "{{x}}", "$HOME"]),
    )
    assert output(shared, "arguments") == "--x=0 {x} $HOME\n1\n"


def test_the_environment_has_parameters_and_place(shared: Daemon) -> None:
    names = ["PARAMS", "PARAM_X", "EXPERIMENT", "TRIAL", "HOST", "ATTEMPT"]
    script = f'echo "{" ".join(f"$TUNED_{name}" for name in names)} $OURS"; echo 1'
    run(shared, "environment", an_experiment(script, objective='env = { OURS = "set" }'))
    assert output(shared, "environment").splitlines()[0] == '{"x": 0} 0 environment 0 alpha 1 set'


def test_each_trial_has_a_working_directory_of_its_own(shared: Daemon) -> None:
    shared.run("private", an_experiment('[ -z "$(ls -A)" ] || exit 1; touch here; pwd; echo 1', xs=2))
    places = {output(shared, "private", trial).splitlines()[0] for trial in range(2)}
    assert len(places) == 2
    assert all(Path(place).is_relative_to(shared.state / "trials") for place in places)
    assert all((Path(place) / "here").exists() for place in places)


def test_a_working_directory_is_given(shared: Daemon, tmp_path: Path) -> None:
    run(shared, "given", an_experiment("pwd; echo 1", objective=f'workdir = "{tmp_path}"'))
    assert output(shared, "given").splitlines()[0] == str(tmp_path)


def test_what_a_point_keeps_outlives_an_abort(make: MakeDaemon) -> None:
    daemon = make().start()
    script = (
        'if [ -e "$TUNED_POINT_DIR/kept" ]; then cat "$TUNED_POINT_DIR/kept"; '
        'else echo 5 > "$TUNED_POINT_DIR/kept"; sleep 600; fi'
    )
    daemon.drop("kept", an_experiment(script))
    until(lambda: list(daemon.state.glob("points/*/*/kept")), what="the point to keep something", seconds=60)
    assert daemon.abort() == 0
    daemon.start().until_in("done", "kept")
    aborted, complete = daemon.study("kept").trials
    assert aborted.user_attrs["FAILURE"]["cause"] == "aborted"
    assert complete.value == 5.0


def test_the_checkpoint_example_goes_on_after_an_abort(make: MakeDaemon) -> None:
    daemon = make(slots=1).start()
    text = (CHECKPOINT / "checkpoint.toml").read_text().replace("/srv/checkpoint", str(CHECKPOINT))
    daemon.drop("checkpoint", text)
    until(lambda: list(daemon.state.glob("points/*/*/checkpoint.json")), what="a checkpoint", seconds=60)
    assert daemon.abort() == 0
    daemon.start()
    until(
        lambda: "going on after epoch" in daemon.tunectl("logs", "checkpoint").stdout,
        what="the training to go on",
        seconds=60,
    )


# How it gives its values


@pytest.mark.parametrize(
    ("name", "script", "more"),
    [
        ("json", """echo '{"step": 1, "value": 9}'; echo '{"value": 0.5}'; echo bye""", ""),
        ("bare", "echo epoch 1; echo 0.5", ""),
        ("stepwise", """echo '{"step": 1, "value": 9}'; echo '{"step": 2, "value": 0.5}'""", ""),
        ("pattern", "echo loss: 9; echo loss: 0.5", "[objective.metric]\npattern = 'loss: (?P<value>\\S+)'"),
    ],
)
def test_a_value_is_printed(shared: Daemon, name: str, script: str, more: str) -> None:
    trial = run(shared, f"value-{name}", an_experiment(script, more=more))
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)


def test_intermediate_values_are_kept(shared: Daemon) -> None:
    script = """for i in 3 1 2; do echo "{\\"step\\": $i, \\"value\\": $i.5}"; done; echo inf"""
    trial = run(shared, "intermediate", an_experiment(script))
    assert trial.intermediate_values == {3: 3.5, 1: 1.5, 2: 2.5}
    assert trial.value == float("inf")


def test_several_objectives_have_several_values(shared: Daemon) -> None:
    text = an_experiment("""echo '{"values": [1, 2.5]}'""")
    trial = run(shared, "several", f'directions = ["minimize", "maximize"]\n{text}')
    assert trial.values == [1.0, 2.5]


def test_a_python_objective_is_called(shared: Daemon, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "def objective(trial):\n    trial.report(4, 1)\n    return trial.suggest_int('x', 0, 0) + 0.5\n"
    )
    command = an_experiment("true").replace('command = ["sh", "-c", "true"]', 'python = "train:objective"')
    trial = run(shared, "python", command.replace("[space", f'path = "{tmp_path}"\n[space', 1))
    assert (trial.value, trial.intermediate_values) == (0.5, {1: 4.0})


# How it fails


@pytest.mark.parametrize(
    ("cause", "name", "script", "expected"),
    [
        ("exit", "exit", "echo 'no data' >&2; exit 3", {"message": "exit status 3: no data", "status": 3}),
        ("signal", "signal", "kill -SEGV $$", {"message": "killed by SIGSEGV", "signal": "SIGSEGV"}),
        (
            "no-value",
            "word",
            "echo high",
            {"message": "no value on standard output; the last line was 'high'"},
        ),
        (
            "no-value",
            "nan",
            "echo nan",
            {"message": "the value is NaN; the last line was 'nan'", "value": "nan"},
        ),
        ("timeout", "time", "sleep 600", {"message": "still running after 0.5 s", "timeout": 0.5}),
    ],
)
def test_why_it_failed_is_told(
    shared: Daemon, cause: str, name: str, script: str, expected: dict[str, object]
) -> None:
    objective = 'timeout = "500ms"' if cause == "timeout" else ""
    text = an_experiment(script, objective=objective)
    assert failure(shared, f"fails-by-{name}", text) == {"cause": cause, **expected}


def test_without_its_program_an_experiment_rests_and_costs_no_point(shared: Daemon) -> None:
    shared.drop("missing", an_experiment(["no-such-program"]))
    expected = "cannot run 'no-such-program': not found in PATH ("

    def rests() -> bool:
        return any(expected in each["note"] for each in shared.status()["experiments"])

    until(rests, what=lambda: f"the experiment to rest; log:\n{shared.log_tail()}")
    assert shared.trials("missing") == []
    shared.tunectl("cancel", "missing")
    shared.until_in("cancelled", "missing")


def test_a_crash_is_tried_again_in_the_same_trial(shared: Daemon) -> None:
    script = 'echo "attempt $TUNED_ATTEMPT"; [ $TUNED_ATTEMPT = 3 ] || exit 7; echo $TUNED_ATTEMPT'
    trial = run(shared, "retried", an_experiment(script, more="[retry]\nattempts = 5"))
    assert trial.value == 3.0
    assert [earlier["status"] for earlier in trial.user_attrs["RETRIED"]] == [7, 7]
    assert shared.summary("retried")["evaluations"] == 3
    assert output(shared, "retried") == "attempt 1\nattempt 2\nattempt 3\n3\n"


def test_retries_are_charged_and_end_with_the_budget(shared: Daemon) -> None:
    # A crash before the first value would not be charged.
    more = "[[points]]\nx = 0\n[retry]\nattempts = 5\n[budget]\nevaluations = 3"
    script = "echo $TUNED_ATTEMPT; test $TUNED_PARAM_X = 0"
    shared.run("charged", an_experiment(script, xs=9, more=more))
    first, second = shared.study("charged").trials
    assert (first.state, second.user_attrs["FAILURE"]["cause"]) == (TrialState.COMPLETE, "exit")
    assert output(shared, "charged", 1) == "1\n2\n"


def test_what_runs_to_its_end_without_a_value_is_not_tried_again(shared: Daemon) -> None:
    trial = run(shared, "no-retry", an_experiment("echo $TUNED_ATTEMPT >&2", more="[retry]\nattempts = 5"))
    assert "RETRIED" not in trial.user_attrs
    assert output(shared, "no-retry") == "1\n"


# Logs


def test_logs_follow_a_trial_to_its_end(shared: Daemon, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo begun; until [ -e {go} ]; do sleep 0.02; done; echo err >&2; echo 1"
    shared.drop("followed", an_experiment(script))
    until(lambda: shared.tunectl("logs", "followed").stdout == "begun\n", what="the first line", seconds=60)
    with shared.tunectl_started("logs", "followed", "-f") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "begun\n"
        go.touch()
        assert sorted(following.stdout.read().split()) == ["1", "err"]
    assert following.returncode == 0


def test_logs_without_a_trial_are_those_of_the_newest(shared: Daemon) -> None:
    shared.run("newest", an_experiment('echo "trial $TUNED_TRIAL"; echo 1', xs=3))
    assert shared.tunectl("logs", "newest").stdout == "trial 2\n1\n"
    assert output(shared, "newest", 1) == "trial 1\n1\n"


def test_a_flood_grows_no_memory_and_holds_up_nobody(daemon: Daemon) -> None:
    daemon.run("warm", an_experiment("head -c 20000000 /dev/zero; echo; echo 1"))
    before = resident_megabytes(daemon.pid)
    script = "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; yes | head -c 9000000; echo 7"
    daemon.drop("flood", an_experiment(script))
    daemon.until_running(1)
    answers = 0
    while daemon.running():
        answers += 1
    assert answers > 1
    daemon.until_in("done", "flood")
    assert daemon.study("flood").trials[0].value == 7.0
    assert resident_megabytes(daemon.pid) < before + 50
    assert sum(path.stat().st_size for path in daemon.state.glob("trials/*/*/*")) < 100 * 2**20


# It ends when it must


@pytest.mark.parametrize("fixture", ["daemon", "plain_daemon"])
@pytest.mark.parametrize("way", ["abort", "cancel"])
def test_what_forked_twice_and_left_its_session_is_gone(
    request: pytest.FixtureRequest, fixture: str, way: str
) -> None:
    daemon: Daemon = request.getfixturevalue(fixture)
    file = daemon.home / "pid"
    daemon.drop("forks", an_experiment(f"{double_fork(file)}; sleep 600"))
    pid = pid_in(file)
    assert is_alive(pid)
    if way == "abort":
        assert daemon.abort() == 0
        assert not is_alive(pid)
    else:
        assert daemon.tunectl("cancel", "forks").returncode == 0
        until(lambda: not is_alive(pid), what="the process to be gone", seconds=60)


def test_a_daemon_without_rights_says_that_it_does_its_best(plain_daemon: Daemon) -> None:
    assert plain_daemon.status()["isolation"] == "best-effort"
    assert run(plain_daemon, "plain", an_experiment("echo 1")).value == 1.0


def test_a_trial_within_its_grace_saves_its_work(make: MakeDaemon) -> None:
    daemon = make()
    daemon.configure(slots=1, grace="60s", expire="90s")
    daemon.start()
    saved, begun = daemon.home / "saved", daemon.home / "begun"
    script = f"trap 'touch {saved}; exit 0' TERM; touch {begun}; while :; do sleep 0.05; done"
    daemon.drop("graceful", an_experiment(script))
    until(begun.exists, what="the trial to begin", seconds=60)
    assert daemon.abort() == 0
    assert saved.exists()
    [trial] = daemon.study("graceful").trials
    assert trial.user_attrs["FAILURE"]["cause"] == "aborted"
