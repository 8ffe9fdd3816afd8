"""The unit for the user manager: one user, without root, with linger, in the XDG directories."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.fleet import Fleet, Host, sleeping
from tests.waiting import until

HOME = "/home/dora"
STATE = f"{HOME}/.local/state/tuned"


class Dora:
    """A user who may keep processes without a session."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def arrive(self) -> None:
        self.host.run("useradd", "--create-home", "--user-group", "dora")
        self.host.run("loginctl", "enable-linger", "dora")
        user_id = self.host.run("id", "--user", "dora").stdout.strip()
        self._environment = (f"HOME={HOME}", f"XDG_RUNTIME_DIR=/run/user/{user_id}")
        manager = self.host.path(f"/run/user/{user_id}/systemd/private")
        until(manager.exists, what="the user's manager", seconds=60)

    def run(self, *command: str, is_checked: bool = True) -> str:
        whole = ("env", *self._environment, *command)
        return self.host.run(*whole, user="dora", is_checked=is_checked).stdout.strip()

    def systemctl(self, *arguments: str) -> str:
        return self.run("systemctl", "--user", *arguments, is_checked=False)

    def drop(self, name: str, text: str) -> None:
        self.host.write(f"{HOME}/{name}.toml", text)
        self.run("tunectl", "submit", f"{HOME}/{name}.toml")

    def until_running(self, trials: int) -> None:
        def running() -> int:
            status = self.run("tunectl", "status", "--json", is_checked=False)
            slots = json.loads(status)["slots"] if status else []
            return sum(slot["running"] is not None for slot in slots)

        until(lambda: running() == trials, what=f"{trials} trials of dora's", seconds=60)

    def main_pid(self) -> str:
        return self.systemctl("show", "--value", "--property=MainPID", "tuned")


@pytest.fixture(scope="module")
def dora(fleet: Fleet) -> Iterator[Dora]:
    fleet.alpha.restore()
    dora = Dora(fleet.alpha)
    dora.arrive()
    dora.host.write(f"{HOME}/.config/tuned/tuned.toml", "slots = 2\n")
    dora.host.run("chown", "--recursive", "dora:dora", HOME)
    assert dora.systemctl("enable", "--now", "tuned") == ""
    yield dora
    dora.systemctl("disable", "--now", "tuned")
    dora.host.run("loginctl", "disable-linger", "dora")


def test_it_serves_its_user_from_the_xdg_directories(dora: Dora) -> None:
    status = json.loads(dora.run("tunectl", "status", "--json"))
    assert (status["state"], status["spool"]) == ("running", f"{STATE}/spool")
    dora.drop("mine", sleeping(f"{HOME}/go", high=3))
    dora.until_running(2)
    dora.run("touch", f"{HOME}/go")
    done = dora.host.path(f"{STATE}/spool/done/mine.toml")
    until(done.exists, what="dora's experiment", seconds=60)


def test_trials_outlive_a_kill_and_a_restart_of_the_daemon_and_not_a_stop(dora: Dora) -> None:
    dora.drop("long", sleeping(f"{HOME}/never"))
    dora.until_running(2)
    before = trials(dora)
    pid = dora.main_pid()
    dora.run("kill", "-9", pid)
    until(lambda: dora.main_pid() not in {pid, "0"}, what="another daemon", seconds=60)
    dora.until_running(2)
    dora.run("tunectl", "restart")
    dora.until_running(2)
    assert trials(dora) == before
    assert len(before) == 2
    dora.systemctl("stop", "tuned")
    assert trials(dora) == set()
    assert dora.systemctl("is-active", "tuned") == "inactive"


def trials(dora: Dora) -> set[str]:
    """The process ids of the trials."""
    found = dora.run("pgrep", "--full", "^sh -c while ! .*never", is_checked=False)
    return set(found.split())
