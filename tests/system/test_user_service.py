"""The unit for the user manager: one user, without root, with linger, in the XDG directories."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.fleet import Fleet, Host, sleeping
from tests.waiting import until

HOME = "/home/carol"
STATE = f"{HOME}/.local/state/tuned"


class Carol:
    """A user who may keep processes without a session."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def arrive(self) -> None:
        self.host.run("useradd", "--create-home", "--user-group", "carol")
        self.host.run("loginctl", "enable-linger", "carol")
        user_id = self.host.run("id", "--user", "carol").stdout.strip()
        self._environment = (f"HOME={HOME}", f"XDG_RUNTIME_DIR=/run/user/{user_id}")
        manager = self.host.path(f"/run/user/{user_id}/systemd/private")
        until(manager.exists, what="the user's manager", seconds=60)

    def run(self, *command: str, is_checked: bool = True) -> str:
        whole = ("env", *self._environment, *command)
        return self.host.run(*whole, user="carol", is_checked=is_checked).stdout.strip()

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

        until(lambda: running() == trials, what=f"{trials} trials of carol's", seconds=60)

    def main_pid(self) -> str:
        return self.systemctl("show", "--value", "--property=MainPID", "tuned")


@pytest.fixture(scope="module")
def carol(fleet: Fleet) -> Iterator[Carol]:
    fleet.alpha.restore()
    carol = Carol(fleet.alpha)
    carol.arrive()
    carol.host.write(f"{HOME}/.config/tuned/tuned.toml", "slots = 2\n")
    carol.host.run("chown", "--recursive", "carol:carol", HOME)
    assert carol.systemctl("enable", "--now", "tuned") == ""
    yield carol
    carol.systemctl("disable", "--now", "tuned")
    carol.host.run("loginctl", "disable-linger", "carol")


def test_it_serves_its_user_from_the_xdg_directories(carol: Carol) -> None:
    status = json.loads(carol.run("tunectl", "status", "--json"))
    assert (status["state"], status["spool"]) == ("running", f"{STATE}/spool")
    carol.drop("mine", sleeping(f"{HOME}/go", high=3))
    carol.until_running(2)
    carol.run("touch", f"{HOME}/go")
    done = carol.host.path(f"{STATE}/spool/done/mine.toml")
    until(done.exists, what="carol's experiment", seconds=60)


def test_trials_outlive_a_kill_and_a_restart_of_the_daemon_and_not_a_stop(carol: Carol) -> None:
    carol.drop("long", sleeping(f"{HOME}/never"))
    carol.until_running(2)
    before = trials(carol)
    pid = carol.main_pid()
    carol.run("kill", "-9", pid)
    until(lambda: carol.main_pid() not in {pid, "0"}, what="another daemon", seconds=60)
    carol.until_running(2)
    carol.run("tunectl", "restart")
    carol.until_running(2)
    assert trials(carol) == before
    assert len(before) == 2
    carol.systemctl("stop", "tuned")
    assert trials(carol) == set()
    assert carol.systemctl("is-active", "tuned") == "inactive"


def trials(carol: Carol) -> set[str]:
    """The process ids of the trials."""
    found = carol.run("pgrep", "--full", "^sh -c while ! .*never", is_checked=False)
    return set(found.split())
