"""``tuned --until-done FILE...`` takes files, works on them, and ends when nothing is left for this host."""

from __future__ import annotations

import signal

import pytest
from optuna.trial import TrialState

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until

GRID = '[sampler]\nname = "grid"\n'

SLURM = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}


@pytest.fixture
def alpha(make: MakeDaemon) -> Daemon:
    """Not started yet."""
    return make()


def begin(daemon: Daemon, name: str, text: str) -> None:
    file = daemon.home / f"{name}.toml"
    file.write_text(text)
    daemon.launch("--until-done", str(file))


def gated(daemon: Daemon) -> str:
    """Five points, whose trials end when the gate opens."""
    return an_experiment(f"until test -e {daemon.home / 'gate'}; do sleep 0.05; done", high=4, more=GRID)


def states(daemon: Daemon, name: str) -> list[TrialState]:
    return [trial.state for trial in daemon.study(name).trials]


def test_it_exits_0_when_its_files_are_over_and_leaves_the_originals(alpha: Daemon) -> None:
    begin(alpha, "five", an_experiment(high=4, more=GRID))
    assert alpha.wait(60) == 0
    assert states(alpha, "five") == [TrialState.COMPLETE] * 5
    assert alpha.place_of("five") == "done"
    assert (alpha.home / "five.toml").exists()


def test_sigint_drains_with_75_and_the_next_one_goes_on_to_the_end(alpha: Daemon) -> None:
    begin(alpha, "long", gated(alpha))
    until(lambda: alpha._answers() and alpha.running() == 2, what=alpha.log_tail, seconds=60)
    alpha.signal(signal.SIGINT)
    alpha.until_state("draining")
    (alpha.home / "gate").touch()
    assert alpha.wait(60) == 75
    assert states(alpha, "long") == [TrialState.COMPLETE] * 2
    begin(alpha, "long", gated(alpha))
    assert alpha.wait(60) == 0
    assert states(alpha, "long") == [TrialState.COMPLETE] * 5


def test_sigterm_aborts_with_143_and_leaves_nothing_running(alpha: Daemon) -> None:
    begin(alpha, "long", gated(alpha))
    until(lambda: alpha._answers() and alpha.running() == 2, what=alpha.log_tail, seconds=60)
    assert alpha.abort() == 143
    assert not alpha.processes()
    assert states(alpha, "long") == [TrialState.FAIL] * 2


def test_it_ends_when_the_experiment_is_done_or_cancelled_by_another_host(make: MakeDaemon) -> None:
    beta = make("beta", host="beta", slots=1).start()
    alpha = make("alpha", storage=beta.storage, slots=1)
    for name, end in (("rest", "cancel"), ("best", "")):
        beta.drop(name, gated(beta))
        beta.until_running(1)
        begin(alpha, name, gated(beta))
        until(lambda: alpha._answers() and alpha.running() == 1, what=alpha.log_tail, seconds=60)
        if end:
            assert beta.tunectl(end, name).returncode == 0
        else:
            (beta.home / "gate").touch()
        assert alpha.wait(60) == 0


def test_an_experiment_that_rests_here_for_good_does_not_keep_it(alpha: Daemon) -> None:
    begin(alpha, "apart", an_experiment() + '[fleet]\nlabels = ["a100"]\n')
    assert alpha.wait(60) == 0
    assert states(alpha, "apart") == []
    assert alpha.place_of("apart") == "active"


def test_an_experiment_that_fails_again_and_again_does_not_keep_it(alpha: Daemon) -> None:
    begin(alpha, "broken", an_experiment("exit 3"))
    assert alpha.wait(60) == 0
    assert set(states(alpha, "broken")) == {TrialState.FAIL}


def test_a_file_that_is_another_search_than_its_study_is_rejected_with_1(make: MakeDaemon) -> None:
    beta = make("beta", host="beta").start()
    beta.run("same", an_experiment(high=1))
    alpha = make("alpha", storage=beta.storage)
    begin(alpha, "same", an_experiment(high=2))
    assert alpha.wait(60) == 1
    assert "tuned: same.toml was rejected: cannot run study same" in alpha.log_tail()


def test_it_takes_over_no_other_experiment_of_the_fleet(make: MakeDaemon) -> None:
    beta = make("beta", host="beta", slots=1).start()
    beta.drop("theirs", gated(beta))
    beta.until_running(1)
    alpha = make("alpha", storage=beta.storage)
    begin(alpha, "ours", an_experiment(high=1))
    assert alpha.wait(60) == 0
    assert {trial.user_attrs["HOST"]["host"] for trial in beta.study("theirs").trials} == {"beta"}


def test_a_signal_for_all_processes_of_a_job_step_drains_and_harms_no_trial(alpha: Daemon) -> None:
    alpha.environment = SLURM
    begin(alpha, "tough", an_experiment("kill -INT $$", high=1, more=GRID))
    assert alpha.wait(60) == 0
    assert states(alpha, "tough") == [TrialState.COMPLETE] * 2
