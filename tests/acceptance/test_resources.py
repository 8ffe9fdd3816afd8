"""The resources of trials: GPUs of their own or shares of one, and limits that are kept or said not to be."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until
from tuned.protocol.fleet import HostsView


@pytest.fixture
def equipped(make: MakeDaemon) -> Daemon:
    """A host with six slots and two cards, not started yet."""
    daemon = make(slots=6)
    equip(daemon, '["0", "1"]')
    return daemon


def equip(daemon: Daemon, gpus: str) -> None:
    kept = [line for line in daemon.config.read_text().splitlines() if not line.startswith("gpus")]
    daemon.config.write_text("\n".join([f"gpus = {gpus}", *kept, ""]))


def recorded(daemon: Daemon, name: str, gpus: str = "", *, high: int = 9, more: str = "") -> str:
    """Its trials write down their cards when they begin and when they end, after the gate is open."""

    def line(word: str) -> str:
        return f'echo {word} {name} "$TUNED_TRIAL" "${{{{CUDA_VISIBLE_DEVICES-unset}}}}" >> {record(daemon)}'

    wait = f"until test -e {gate(daemon, name)}; do sleep 0.02; done"
    wanted = f"[resources]\ngpus = {gpus}\n" if gpus else ""
    script = f"{line('begins')}; {wait}; {line('ends')}"
    return an_experiment(script, high=high, more=f'{wanted}[sampler]\nname = "grid"\n{more}')


def record(daemon: Daemon) -> Path:
    return daemon.home / "record"


def gate(daemon: Daemon, name: str) -> Path:
    return daemon.home / f"{name}.gate"


def lines(daemon: Daemon) -> list[list[str]]:
    """Word, experiment, trial, cards."""
    return (
        [line.split(" ") for line in record(daemon).read_text().splitlines()]
        if record(daemon).exists()
        else []
    )


def begun(daemon: Daemon, name: str) -> list[str]:
    """The cards of each trial that has begun."""
    return [line[3] for line in lines(daemon) if line[:2] == ["begins", name]]


def until_begun(daemon: Daemon, name: str, trials: int) -> None:
    until(
        lambda: len(begun(daemon, name)) >= trials,
        what=lambda: f"{trials} trials of {name} to begin; log:\n{daemon.log_tail()}",
        seconds=60,
    )


def most_at_once(daemon: Daemon) -> Counter[str]:
    """By card: how many trials held it at once, at most."""
    now, most = Counter[str](), Counter[str]()
    for word, _, _, cards in lines(daemon):
        for card in cards.split(","):
            now[card] += 1 if word == "begins" else -1
            most[card] = max(most[card], now[card])
    assert not +now, "all have ended"
    return most


def used(daemon: Daemon) -> dict[str, float]:
    return {gpu["id"]: gpu["used"] for gpu in daemon.status()["gpus"]}


def notes(daemon: Daemon) -> dict[str, str]:
    """Of the experiments that this host works on."""
    return {each["name"]: each["note"] for each in daemon.status()["experiments"]}


def test_a_card_is_held_by_one_trial_at_once(equipped: Daemon) -> None:
    daemon = equipped.start()
    daemon.drop("whole", recorded(daemon, "whole", "1"))
    until_begun(daemon, "whole", 2)
    until(lambda: used(daemon) == {"0": 1.0, "1": 1.0}, what="both cards to be used")
    slots = [slot["running"] for slot in daemon.status()["slots"]]
    assert sorted(run["gpus"] for run in slots if run is not None) == [["0"], ["1"]]
    gate(daemon, "whole").touch()
    daemon.until_in("done", "whole")
    assert len(begun(daemon, "whole")) == 10
    assert most_at_once(daemon) == {"0": 1, "1": 1}
    assert used(daemon) == {"0": 0.0, "1": 0.0}


def test_two_trials_share_a_card(equipped: Daemon) -> None:
    daemon = equipped.start()
    daemon.drop("half", recorded(daemon, "half", "0.5"))
    until_begun(daemon, "half", 4)
    assert Counter(begun(daemon, "half")) == {"0": 2, "1": 2}
    gate(daemon, "half").touch()
    daemon.until_in("done", "half")
    assert len(begun(daemon, "half")) == 10
    assert most_at_once(daemon) == {"0": 2, "1": 2}


def test_a_trial_may_have_several_cards(equipped: Daemon) -> None:
    daemon = equipped.start()
    daemon.drop("pair", recorded(daemon, "pair", "2", high=2))
    gate(daemon, "pair").touch()
    daemon.until_in("done", "pair")
    assert begun(daemon, "pair") == ["0,1"] * 3
    assert most_at_once(daemon) == {"0": 1, "1": 1}


def test_who_needs_many_cards_is_not_overtaken_and_who_needs_none_goes_on(equipped: Daemon) -> None:
    daemon = equipped.start()
    daemon.drop("narrow", "parallel = 1\n" + recorded(daemon, "narrow", "1", high=0))
    until_begun(daemon, "narrow", 1)
    daemon.drop("wide", recorded(daemon, "wide", "2", high=0))
    until(lambda: "wide" in notes(daemon), what="wide to be taken")
    daemon.drop("later", recorded(daemon, "later", "1", high=0))
    gate(daemon, "none").touch()
    daemon.run("none", recorded(daemon, "none", high=20))
    assert daemon.place_of("later") == "active"
    assert begun(daemon, "wide") == begun(daemon, "later") == []
    for name in ("wide", "later", "narrow"):
        gate(daemon, name).touch()
    for name in ("narrow", "wide", "later"):
        daemon.until_in("done", name)
    assert [line[1] for line in lines(daemon) if line[0] == "begins" and line[1] != "none"] == [
        "narrow",
        "wide",
        "later",
    ]


def test_cards_come_back_however_a_trial_ends(equipped: Daemon) -> None:
    daemon = equipped.start()
    daemon.drop("killed", recorded(daemon, "killed", "2", more="[retry]\nattempts = 1\n"))
    until_begun(daemon, "killed", 1)
    assert daemon.tunectl("cancel", "killed").returncode == 0
    fails = an_experiment("exit 1", high=3, more="[resources]\ngpus = 2\n[retry]\nattempts = 1\n")
    assert daemon.run("fails", fails)["counts"]["failed"] == 4
    slow = an_experiment("sleep 600", high=0, more="[resources]\ngpus = 2\n")
    daemon.run("slow", slow.replace("[space", 'timeout = "100ms"\n[space', 1))
    daemon.run(
        "misses", an_experiment("true", high=0).replace('"sh"', '"./no-such"') + "[resources]\ngpus = 2\n"
    )
    assert used(daemon) == {"0": 0.0, "1": 0.0}


def test_who_needs_more_cards_than_there_are_rests_until_there_are(equipped: Daemon) -> None:
    daemon = equipped.start()
    daemon.drop("vast", recorded(daemon, "vast", "3", high=1))
    gate(daemon, "vast").touch()
    until(lambda: "vast" in notes(daemon), what="vast to be taken", seconds=60)
    assert notes(daemon)["vast"] == "needs 3 GPUs, this host has 2"
    for command in (["list"], ["status"], ["show", "vast"]):
        assert "needs 3 GPUs, this host has 2" in daemon.tunectl(*command).stdout
    gate(daemon, "pair").touch()
    daemon.run("pair", recorded(daemon, "pair", "2", high=1))
    assert begun(daemon, "vast") == []
    assert [
        entry["reason"] for entry in daemon.logged() if entry["event"] == "experiment rests on this host"
    ] == ["needs 3 GPUs, this host has 2"]
    equip(daemon, "3")
    daemon.signal(signal.SIGHUP)
    daemon.until_in("done", "vast")
    assert begun(daemon, "vast") == ["0,1,2"] * 2


def test_who_asks_for_no_card_has_the_environment_as_it_is(make: MakeDaemon) -> None:
    daemon = make()
    daemon.environment["CUDA_VISIBLE_DEVICES"] = "7,8"
    daemon.start()
    for name, gpus in (("none", ""), ("one", "1")):
        gate(daemon, name).touch()
        daemon.run(name, "parallel = 1\n" + recorded(daemon, name, gpus, high=0))
    assert (begun(daemon, "none"), begun(daemon, "one")) == (["7,8"], ["7"])
    assert [host["gpus"] for host in daemon.client.get("/v1/hosts", HostsView)["hosts"]] == [2]


def test_the_configuration_that_is_used_names_the_cards(equipped: Daemon) -> None:
    process = equipped.launch("--check-config")
    assert process.wait(60) == 0
    assert 'gpus = ["0", "1"]' in equipped.log.read_text()


def test_limits_that_are_not_kept_are_told_and_the_trial_runs(plain_daemon: Daemon) -> None:
    text = an_experiment("until test -e go; do sleep 0.02; done", high=0)
    text = text.replace("[space", f"workdir = {json.dumps(str(plain_daemon.home))}\n[space", 1)
    plain_daemon.drop("limited", text + '[resources]\nmemory = "64M"\npids = 99\n')
    plain_daemon.until_running(1)
    until(lambda: "limited" in notes(plain_daemon), what="limited to be shown")
    expected = "trials run without the limit memory 64M, pids 99: this host has no control groups"
    assert notes(plain_daemon)["limited"].startswith(expected)
    assert plain_daemon.status()["limits"] == []
    shown = " ".join(plain_daemon.tunectl("show", "limited").stdout.split())
    assert expected in shown
    assert "Each trial memory 64M, pids 99" in shown
    (plain_daemon.home / "go").touch()
    plain_daemon.until_in("done", "limited")
    assert plain_daemon.summary("limited")["counts"]["complete"] == 1
    assert [
        entry["experiment"] for entry in plain_daemon.logged() if entry["event"] == "limits not kept"
    ] == ["limited"]
