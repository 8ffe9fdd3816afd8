"""The role on two booted hosts that have nothing of tuned: from the playbook alone to a finished search."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import _free_port
from tests.system.fleet import sleeping
from tests.system.machine import CannotBoot, Machine, require_host
from tests.system.playbook import EXAMPLE, Playbook, Run
from tests.waiting import until

#: Hosts share this machine's addresses, and so does the database, which is on the first one.
DATABASE = "127.0.0.1"

#: They do not wait long for each other's experiments.
SETTINGS = {"heartbeat": {"interval": "1s", "expire": "60s"}}

#: The beginning of a command that is run when a file is there.
WAITING = 'command = ["sh", "-c", "until [ -e /srv/go ]; do sleep 0.2; done; exec $0 $@", '

UNTOUCHED = ("/etc/tuned", "/usr/bin/tuned", "/var/cache/tuned-hpo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The hosts, and the playbook with the variables that this machine needs."""

    delta: Machine
    epsilon: Machine
    playbook: Playbook
    variables: dict[str, Any]

    def run(self, *arguments: str, is_checked: bool = True, **variables: Any) -> Run:
        return self.playbook.run(*arguments, is_checked=is_checked, **{**self.variables, **variables})

    @property
    def hosts(self) -> tuple[Machine, Machine]:
        return self.delta, self.epsilon


def postgresql_version() -> int:
    return max(int(path.name) for path in Path("/usr/lib/postgresql").iterdir())


def make_cluster(host: Machine, port: int) -> None:
    """Debian's own, as a new installation of PostgreSQL makes it, but on a port that is free here."""
    version = f"{postgresql_version()}"
    host.run("pg_dropcluster", "--stop", version, "main", is_checked=False)
    host.run("pg_createcluster", f"--port={port}", version, "main")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    try:
        require_host()
    except CannotBoot as reason:
        pytest.exit(f"cannot boot hosts for the tests: {reason}", returncode=1)
    hosts = [Machine(name) for name in ("delta", "epsilon")]
    port = _free_port()
    try:
        for host in hosts:
            host.start_boot()
        for host in hosts:
            host.until_up()
            host.run("useradd", "--user-group", "alice")
        make_cluster(hosts[0], port)
        yield Site(
            delta=hosts[0],
            epsilon=hosts[1],
            playbook=a_playbook(tmp_path_factory.mktemp("site"), *hosts),
            variables={
                "tuned_package": os.environ["TUNED_TEST_DEB"], "tuned_users": ["alice"],
                "tuned_settings": SETTINGS, "database_port": port, "fleet_network": f"{DATABASE}/32",
                "postgresql_version": postgresql_version(),
            },
        )  # fmt: skip
    finally:
        for host in hosts:
            host.close()


def a_playbook(home: Path, delta: Machine, epsilon: Machine) -> Playbook:
    fleet = {"delta": {"tuned_slots": 2}, "epsilon": {"tuned_slots": 1, "tuned_labels": ["a100"]}}
    inventory = {"all": {"children": {"database": {"hosts": {DATABASE: {}}}, "fleet": {"hosts": fleet}}}}
    return Playbook(home, {DATABASE: delta, "delta": delta, "epsilon": epsilon}, inventory)


def status(host: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run("tunectl", "status", "--json").stdout)
    return answer


def running(host: Machine) -> dict[int, bool]:
    """The numbers of the trials, and whether an earlier daemon began them."""
    runs = [slot["running"] for slot in status(host)["slots"]]
    return {run["trial"]: run["is_adopted"] for run in runs if run is not None}


def main_pid(host: Machine) -> int:
    return int(host.run("systemctl", "show", "--value", "--property=MainPID", "tuned").stdout)


def log(host: Machine) -> str:
    return host.run("journalctl", "--unit=tuned", "--unit=tuned-trials", "--lines=60", "--output=cat").stdout


def submit(host: Machine, name: str, text: str) -> None:
    host.run("sh", "-c", f"cat > /var/tmp/{name}.toml", stdin=text)
    host.run("tunectl", "submit", f"/var/tmp/{name}.toml", user="alice")


def test_a_dry_run_from_nothing_changes_nothing(site: Site) -> None:
    run = site.run("--check", "--diff")
    assert run.changed["delta"] > 0
    assert [path for host in site.hosts for path in UNTOUCHED if host.path(path).exists()] == []


def test_two_hosts_come_from_nothing_to_a_finished_search(site: Site) -> None:
    assert site.run().changed["epsilon"] > 0
    site.delta.path("/srv/sweep").mkdir()
    shutil.copy(EXAMPLE / "sweep" / "fit.py", site.delta.path("/srv/sweep"))
    text = (EXAMPLE / "sweep" / "sweep.toml").read_text()
    submit(site.delta, "sweep", text.replace("command = [", WAITING))
    for host, slots in ((site.delta, 2), (site.epsilon, 1)):
        until(lambda: len(running(host)) == slots, what=lambda: f"trials\n{log(host)}", seconds=60)  # noqa: B023
    for host in site.hosts:
        host.run("touch", "/srv/go")
    assert "sweep is done" in site.delta.run("tunectl", "wait", "sweep", user="alice").stdout
    trials = json.loads(site.epsilon.run("tunectl", "trials", "sweep", "--limit=100", "--json").stdout)[
        "trials"
    ]
    assert ({trial["host"] for trial in trials}, len(trials)) == ({"delta", "epsilon"}, 40)


def test_a_second_run_changes_nothing(site: Site) -> None:
    assert site.run().changed == {DATABASE: 0, "delta": 0, "epsilon": 0}


def test_settings_are_those_of_the_host_and_the_password_is_roots(site: Site) -> None:
    assert (len(status(site.delta)["slots"]), len(status(site.epsilon)["slots"])) == (2, 1)
    assert re.search(r"^epsilon .* a100$", site.delta.run("tunectl", "hosts").stdout, re.MULTILINE)
    for host in site.hosts:
        modes = host.run("stat", "-c", "%a %U:%G", "/etc/tuned/pgpass", "/etc/tuned/tuned.toml").stdout
        assert modes.splitlines() == ["600 root:root", "640 root:tuned"]
        assert host.run("systemctl", "is-enabled", "tuned").stdout == "enabled\n"


def test_a_changed_setting_is_reloaded_or_the_daemon_restarted_and_trials_run_on(site: Site) -> None:
    submit(site.delta, "long", sleeping("/srv/end", high=3) + '\n[fleet]\nhosts = ["delta"]\n')
    until(lambda: len(running(site.delta)) == 2, what=lambda: f"trials\n{log(site.delta)}", seconds=60)
    daemon = main_pid(site.delta)
    site.run("--limit=delta", tuned_slots=3)
    until(lambda: len(running(site.delta)) == 3, what="three slots")
    assert main_pid(site.delta) == daemon
    site.run("--limit=delta", tuned_slots=3, tuned_settings={**SETTINGS, "stop": {"grace": "1s"}})
    assert main_pid(site.delta) != daemon
    assert running(site.delta) == dict.fromkeys(range(3), True)
    site.delta.run("touch", "/srv/end")
    assert "long is done" in site.delta.run("tunectl", "wait", "long").stdout


def test_wrong_settings_and_unknown_users_are_refused_and_change_nothing(site: Site) -> None:
    before = site.delta.path("/etc/tuned/tuned.toml").read_text()
    wrong = site.run("--limit=delta", is_checked=False, tuned_settings={"stop": {"grace": "soon"}})
    assert (wrong.status, "stop.grace" in wrong.output) == (2, True)
    unknown = site.run("--limit=delta", is_checked=False, tuned_users=["mallory"], tuned_settings={})
    assert (unknown.status, "mallory" in unknown.output) == (2, True)
    assert site.delta.path("/etc/tuned/tuned.toml").read_text() == before
