"""Experiments that share a host: which of them gets its slots."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until


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
