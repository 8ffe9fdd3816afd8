"""Hosts that are shared: which experiment gets the slots, and when none does."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.nvml import Nvml
from tests.waiting import until
from tuned.protocol.fleet import HostsView


def recorded(daemon: Daemon, name: str, priority: int) -> str:
    """Each of its four trials writes down its name, and waits until the gate is open."""
    script = f"echo {name} >> {daemon.home}/record; until test -e {daemon.home}/gate; do sleep 0.02; done"
    more = f'[sampler]\nname = "grid"\n[fleet]\npriority = {priority}\n'
    return an_experiment(script, high=3, more=more)


def begun(daemon: Daemon) -> list[str]:
    record: Path = daemon.home / "record"
    return record.read_text().split() if record.exists() else []


def until_taken(daemon: Daemon, *names: str) -> None:
    def taken() -> bool:
        return set(names) <= {each["name"] for each in daemon.status()["experiments"]}

    until(taken, what=f"{names} to be taken", seconds=60)


def test_a_higher_priority_gets_each_free_slot_until_it_has_nothing_to_start(make: MakeDaemon) -> None:
    daemon = make(slots=1).start()
    daemon.drop("low", recorded(daemon, "low", -1))
    until(lambda: begun(daemon) == ["low"], what="a trial of low", seconds=60)
    daemon.drop("high", recorded(daemon, "high", 10))
    until_taken(daemon, "low", "high")
    for command in (["list"], ["status"]):
        assert "priority 10" in daemon.tunectl(*command).stdout
    (daemon.home / "gate").touch()
    for name in ("high", "low"):
        daemon.until_in("done", name)
    assert begun(daemon) == ["low", *["high"] * 4, *["low"] * 3]


def test_a_replaced_priority_holds_from_the_next_free_slot_on(make: MakeDaemon) -> None:
    daemon = make(slots=1).start()
    daemon.drop("one", recorded(daemon, "one", 5))
    until(lambda: begun(daemon) == ["one"], what="a trial of one", seconds=60)
    daemon.drop("two", recorded(daemon, "two", 0))
    until_taken(daemon, "one", "two")
    file = daemon.home / "one.toml"
    file.write_text(recorded(daemon, "one", -5))
    answer = daemon.tunectl("submit", "--replace", str(file))
    assert "fleet.priority: -5, was 5" in answer.stdout, answer
    assert "Priority -5" in " ".join(daemon.tunectl("show", "one").stdout.split())
    (daemon.home / "gate").touch()
    for name in ("two", "one"):
        daemon.until_in("done", name)
    assert begun(daemon) == ["one", *["two"] * 4, *["one"] * 3]


def hours(daemon: Daemon, *, is_open: bool, when_over: str) -> None:
    """Hours that began an hour ago, or that ended an hour ago."""
    now = datetime.now().astimezone()
    first, last = (f"{now + timedelta(hours=each):%H:%M}" for each in ((-1, 2) if is_open else (2, -1)))
    kept = daemon.config.read_text().partition("[work]")[0]
    daemon.config.write_text(f'{kept}[work]\nhours = "{first}-{last}"\nwhen_over = "{when_over}"\n')


def events(daemon: Daemon) -> list[str]:
    return [each["event"] for each in daemon.logged() if each["event"].startswith("host ")]


def test_a_host_starts_nothing_outside_of_its_hours_and_says_so(make: MakeDaemon) -> None:
    daemon = make(slots=2)
    hours(daemon, is_open=False, when_over="finish")
    daemon.start()
    daemon.until_joined()
    daemon.drop("exp", recorded(daemon, "exp", 0))
    until_taken(daemon, "exp")
    assert "nothing starts here since " in daemon.tunectl("status").stdout

    def seen() -> bool:
        return daemon.client.get("/v1/hosts", HostsView)["hosts"][0]["off"] == daemon.status()["off"]

    until(seen, what="a beat that says it")
    assert "alpha starts nothing since " in daemon.tunectl("hosts").stdout
    assert daemon.trials("exp") == []
    hours(daemon, is_open=True, when_over="finish")
    daemon.signal(signal.SIGHUP)
    daemon.until_running(2)
    assert daemon.status()["off"] is None
    assert events(daemon)[-1] == "host works"
    hours(daemon, is_open=False, when_over="finish")
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.status()["off"], what="the end of the hours")
    (daemon.home / "gate").touch()
    until(lambda: daemon.summary("exp")["counts"]["complete"] == 2, what="what runs to finish")
    assert (daemon.running(), len(daemon.trials("exp"))) == (0, 2)


def test_trials_are_killed_refunded_and_free_at_the_end_of_the_hours(make: MakeDaemon) -> None:
    daemon = make(slots=2).start()
    daemon.drop("exp", recorded(daemon, "exp", 0))
    daemon.until_running(2)
    hours(daemon, is_open=False, when_over="abort")
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.summary("exp")["counts"]["failed"] == 2, what="both trials to be settled")
    assert daemon.summary("exp")["evaluations"] == 0
    assert daemon.trial_processes() == set()
    # One that comes to a host that is off takes over nothing, and starts nothing.
    daemon.crash()
    daemon.start()
    until_taken(daemon, "exp")
    assert daemon.status()["off"]
    (daemon.home / "gate").touch()
    hours(daemon, is_open=True, when_over="abort")
    daemon.signal(signal.SIGHUP)
    daemon.until_in("done", "exp")
    assert daemon.summary("exp")["counts"]["complete"] == 4
    assert daemon.summary("exp")["evaluations"] == 4


def test_a_card_on_which_others_compute_is_not_given_out_and_status_says_so(make: MakeDaemon) -> None:
    daemon = make(slots=4)
    nvml = Nvml(daemon.home / "nvml").build()
    nvml.say(f"1 {os.getpid()}")
    daemon.environment |= nvml.environment
    daemon.config.write_text(f'gpus = ["0", "1"]\ngpus_in_use = "leave"\n{daemon.config.read_text()}')
    daemon.start()
    daemon.drop("exp", recorded(daemon, "exp", 0) + "[resources]\ngpus = 1\n")
    daemon.until_running(1)
    until(lambda: daemon.status()["gpus"][1]["is_left"], what="the other card to be left")
    assert "0 busy, 1 used by others" in daemon.tunectl("status").stdout
    assert [run["gpus"] for slot in daemon.status()["slots"] if (run := slot["running"])] == [["0"]]
    nvml.say()
    # Somebody looks again.
    daemon.until_running(2)
    assert "0 busy, 1 busy" in daemon.tunectl("status").stdout
    (daemon.home / "gate").touch()
    daemon.until_in("done", "exp")


def test_a_host_whose_cards_cannot_be_seen_says_so_and_gives_them_out(make: MakeDaemon) -> None:
    daemon = make(slots=1)
    daemon.config.write_text(f'gpus = 1\ngpus_in_use = "leave"\n{daemon.config.read_text()}')
    daemon.start()
    (daemon.home / "gate").touch()
    daemon.run("exp", recorded(daemon, "exp", 0) + "[resources]\ngpus = 1\n")
    assert "NVML Shared Library Not Found" in " ".join(daemon.tunectl("status").stdout.split())
    assert "cards-unseen" in daemon.tunectl("doctor", "--json").stdout
