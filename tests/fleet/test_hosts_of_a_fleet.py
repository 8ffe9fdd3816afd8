"""Several hosts, one experiment: each point once, exact budgets, and what becomes of a host that fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet, FleetHost
from tests.fleet.ledger import Ledger
from tests.fleet.verdict import cause_of, host_of, is_late
from tests.waiting import until

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = {high}\n'

#: Only hosts on which a test drops it.
HERE = '[fleet]\nhosts = "here"\n'

POLICIES = {
    "grid": '[sampler]\nname = "grid"\n',
    "random": '[sampler]\nname = "random"\n',
    "tpe-wait": '[dedup]\non_running = "wait"\n',
    "qmc-resample": '[sampler]\nname = "qmc"\n[dedup]\non_complete = "resample"\non_running = "resample"\n',
}

#: Of a host's keeper: a copy of the host's directory has none.
A_SOCKET = shutil.ignore_patterns("socket")


def test_whatever_draws_the_points_the_fleet_evaluates_each_once(fleet: Fleet, ledger: Ledger) -> None:
    hosts = fleet.start(3, slots=4)
    for name, more in POLICIES.items():
        fleet.drop(name, ledger.objective(pause="echo 0.05") + SPACE.format(high=23) + more)
    for name in POLICIES:
        fleet.until_done(name)
    for name in POLICIES:
        evaluations = ledger.evaluations(name)
        assert sorted(e.x for e in evaluations) == list(range(24)), name
    # They did it together.
    everything = [e for name in POLICIES for e in ledger.evaluations(name)]
    assert {e.host for e in everything} == {host.name for host in hosts}


def test_replicates_on_several_hosts_are_charged_exactly(fleet: Fleet, tmp_path: Path) -> None:
    hosts = fleet.start(2, slots=2)
    more = "[replicates]\ncount = 3\n[budget]\nevaluations = 20\n"
    begun = tmp_path / "begun"
    script = f'echo "$TUNED_PARAM_X $TUNED_HOST" >> {begun}; sleep 0.05; echo $TUNED_REPLICATE'
    command = json.dumps(["sh", "-c", script])
    fleet.drop("exp", f"[objective]\ncommand = {command}\n{SPACE.format(high=99)}{POLICIES['grid']}{more}")
    fleet.until_done("exp")
    evaluations = [line.split() for line in begun.read_text().splitlines()]
    assert len(evaluations) == 20
    assert {host for _, host in evaluations} == {host.name for host in hosts}
    study = fleet.study("exp")
    of_trial = [len(trial.user_attrs["REPLICATES"]) for trial in study.trials]
    assert (sum(of_trial), max(of_trial)) == (20, 3)
    assert len({x for x, _ in evaluations}) == len(study.trials)


def test_hosts_without_the_cards_that_are_needed_leave_the_points_to_those_that_have_them(
    fleet: Fleet, ledger: Ledger
) -> None:
    hosts = fleet.add(2)
    for host, gpus in zip(hosts, ("0", '["0", "1"]'), strict=True):
        host.config.write_text(f"gpus = {gpus}\n{host.config.read_text()}")
        host.start()
    without, equipped = hosts
    text = ledger.objective() + SPACE.format(high=9) + POLICIES["grid"] + "[resources]\ngpus = 2\n"
    without.drop("exp", text)
    until(lambda: without.status()["experiments"], what="the first host to take it", seconds=60)
    assert without.status()["experiments"][0]["note"] == "needs 2 GPUs, this host has none"
    equipped.run("exp", text)
    without.until_in("done", "exp")
    evaluations = ledger.evaluations("exp")
    assert sorted(e.x for e in evaluations) == list(range(10))
    assert {e.host for e in evaluations} == {equipped.name}


def test_the_fleet_spends_its_budgets_to_the_last_trial(fleet: Fleet, ledger: Ledger) -> None:
    fleet.start(2, slots=8)
    budgets = {"trials": "trials = 37\n", "evaluations": "evaluations = 23\n"}
    for name, budget in budgets.items():
        more = f'[budget]\n{budget}[sampler]\nname = "random"\n[retry]\nattempts = 1\n'
        value = '$([ $((TUNED_PARAM_X % 3 + TUNED_ATTEMPT)) = 1 ] && echo - || echo "$TUNED_PARAM_X")'
        fleet.drop(name, ledger.objective(value=value) + SPACE.format(high=199) + more)
    for name in budgets:
        fleet.until_done(name)
    assert len(fleet.study("trials").get_trials(deepcopy=False)) == 37
    assert len(ledger.evaluations("evaluations")) == 23


def test_the_points_of_a_killed_host_are_taken_over_and_its_trials_are_lost(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    killed, other = fleet.start(2)
    text = ledger.objective(pause=gated(tmp_path)) + SPACE.format(high=9) + POLICIES["grid"] + HERE
    killed.drop("exp", text)
    until(lambda: len(ledger.evaluations("exp")) == 2, what="the first host to evaluate", seconds=60)
    killed.kill()
    (tmp_path / gate_of(other)).touch()
    other.run("exp", text)
    trials = fleet.study("exp").get_trials(deepcopy=False)
    assert {host_of(t) for t in trials if cause_of(t) == "lost"} == {killed.name}
    assert sorted(t.params["x"] for t in trials if cause_of(t) is None) == list(range(10))


@pytest.mark.parametrize("has_ended", [True, False], ids=["ended", "running"])
def test_a_trial_that_outlives_its_daemon_too_long_counts_once(
    fleet: Fleet, ledger: Ledger, tmp_path: Path, *, has_ended: bool
) -> None:
    late, other = fleet.start(2, slots=1)
    text = ledger.objective(pause=gated(tmp_path)) + SPACE.format(high=4) + POLICIES["grid"]
    late.drop("exp", text)
    until(lambda: len(ledger.evaluations("exp")) == 1, what="the first host to evaluate", seconds=60)
    late.note_stop()
    late.crash()
    (tmp_path / gate_of(other)).touch()
    other.run("exp", text)
    if has_ended:
        (tmp_path / gate_of(late)).touch()
        until(lambda: [*(late.state / "keeper" / "runs").glob("*.json")], what="its ending", seconds=60)
    late.start().until_joined()
    until(lambda: not late.trial_processes(), what="its run to be over", seconds=60)
    until(lambda: not [*(late.state / "keeper" / "runs").glob("*.json")], what="it to be forgotten")
    trials = fleet.study("exp").get_trials(deepcopy=False)
    assert [cause_of(t) for t in trials].count("lost") == 1
    assert sorted(t.params["x"] for t in trials if cause_of(t) is None) == list(range(5))


def test_a_host_that_was_taken_for_dead_overwrites_nothing_and_its_late_value_is_kept(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    frozen, other = fleet.start(2, slots=1)
    text = ledger.objective(pause=gated(tmp_path)) + SPACE.format(high=0) + POLICIES["grid"] + HERE
    frozen.drop("exp", text)
    until(lambda: ledger.evaluations("exp"), what="the point to be evaluated", seconds=60)
    frozen.freeze()
    # Its program ends while its daemon cannot look.
    (tmp_path / gate_of(frozen)).touch()
    until(lambda: ledger.evaluations("exp")[0].ended, what="the program to end", seconds=60)
    other.drop("exp", text)
    until(lambda: len(ledger.evaluations("exp")) == 2, what="the other host to take it over", seconds=60)
    frozen.thaw()
    until(
        lambda: fleet.query("SELECT 1 FROM trial_user_attributes WHERE key = 'LATE_OF'"),
        what="the late value", seconds=60,
    )  # fmt: skip
    (tmp_path / gate_of(other)).touch()
    fleet.until_done("exp")
    lost, again, late = fleet.study("exp").get_trials(deepcopy=False)
    assert (cause_of(lost), lost.value) == ("lost", None)
    assert (host_of(again), again.value) == (other.name, 1)
    assert is_late(late)
    assert (host_of(late), late.value, late.user_attrs["LATE_OF"]) == (frozen.name, 1, lost.number)


def test_a_living_hosts_name_is_refused(fleet: Fleet) -> None:
    [first] = fleet.start(1)
    # Of two that join at once, either may get the name.
    first.until_joined()
    [namesake] = fleet.add(1)
    namesake.configure(slots=2, host="h0")
    namesake.launch()
    assert namesake.wait(60) == 1
    assert "cannot join the fleet as h0: another live daemon has this name" in namesake.log_tail()


def test_a_state_directory_in_use_is_refused(fleet: Fleet) -> None:
    [first] = fleet.start(1)
    [second] = fleet.add(1)
    second.state = first.state
    second.launch()
    assert second.wait(60) == 1
    assert (
        f"cannot use state directory {first.state}: another daemon has it (pid {first.pid})"
        in second.log_tail()
    )


def test_a_copied_state_directory_is_refused_under_another_name(fleet: Fleet) -> None:
    [first] = fleet.start(1)
    first.until_joined()
    [copy] = fleet.add(1)
    shutil.copytree(first.state, copy.state, ignore=A_SOCKET)
    copy.launch()
    assert copy.wait(60) == 1
    assert "cannot be host h1: another live daemon, host h0, runs on a copy" in copy.log_tail()
    assert first.is_up


def test_of_two_hosts_with_one_name_and_a_copied_state_directory_one_goes(fleet: Fleet) -> None:
    [first] = fleet.start(1)
    first.until_joined()
    [copy] = fleet.add(1)
    copy.configure(slots=2, host="h0")
    shutil.copytree(first.state, copy.state, ignore=A_SOCKET)
    copy.start()
    assert first.wait(60) == 1
    assert "runs on a copy of this state directory" in first.log_tail()
    assert copy.is_up


def test_a_file_that_differs_from_the_fleets_is_rejected_with_the_difference(
    fleet: Fleet, ledger: Ledger
) -> None:
    first, second = fleet.start(2)
    text = ledger.objective() + "{space}" + POLICIES["grid"]
    first.run("exp", text.replace("{space}", SPACE.format(high=3)))
    second.drop("exp", text.replace("{space}", SPACE.format(high=4)))
    assert second.rejection("exp").startswith(
        "cannot run study exp: it exists with another definition: space"
    )


def gated(below: Path) -> str:
    """A script that holds an evaluation back until its host's gate is there."""
    return f"until [ -e {below}/$TUNED_HOST.gate ]; do sleep 0.1; done; echo 0"


def gate_of(host: FleetHost) -> str:
    return f"{host.name}.gate"
