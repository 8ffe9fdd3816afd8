"""The tutorial of a fleet, word by word on two booted hosts."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.test_docs import READING, execute, is_shown
from tests.documents import FLEET, Block, Step, blocks, steps
from tests.postgres import PostgresServer
from tests.system.machine import CannotBoot, Machine, require_host
from tests.waiting import until

#: Where root is, with the package.
PLACE = "/var/tmp"

#: Nothing is there to answer any more.
PLUG = "systemctl poweroff --force --force"


@pytest.fixture
def hosts() -> Iterator[Mapping[str, Machine]]:
    try:
        require_host()
    except CannotBoot as reason:
        pytest.exit(f"cannot boot hosts for the tests: {reason}", returncode=1)
    hosts = {name: Machine(name) for name in ("alpha", "beta")}
    try:
        for host in hosts.values():
            host.start_boot()
        for host in hosts.values():
            host.until_up()
            host.run("useradd", "--create-home", "--user-group", "alice")
            shutil.copy(os.environ["TUNED_TEST_DEB"], host.path(PLACE))
        yield hosts
    finally:
        for host in hosts.values():
            host.close()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        server.require_password(of="tuned")
        yield server


def test_a_fleet_is_made_in_ten_minutes(hosts: Mapping[str, Machine], server: PostgresServer) -> None:
    for block in blocks(FLEET):
        text = block.text.replace("db.example.org:5432", f"127.0.0.1:{server.port}")
        if block.saved_as:
            save(hosts, block.saved_as, text)
        elif block.language == "sql":
            execute(server, text)
        else:
            assert block.language == "console", f"{block} is neither saved nor run"
            for step in steps(block):
                follow(hosts, block, step)


def save(hosts: Mapping[str, Machine], file: str, text: str) -> None:
    """The settings as root on both hosts, all else as alice on the first one."""
    is_settings = Path(file).is_relative_to("/etc")
    for host in hosts.values() if is_settings else [hosts["alpha"]]:
        host.run("sh", "-c", f"cat > {shlex.quote(file)}", user=None if is_settings else "alice", stdin=text)


def follow(hosts: Mapping[str, Machine], block: Block, step: Step) -> None:
    # The package is built before, and on the hosts.
    if not step.host:
        return
    host, is_reading = hosts[step.host], READING.match(step.command) is not None
    place, user = (PLACE, None) if step.is_root else ("/home/alice", "alice")

    def run() -> str:
        done = host.run("sh", "-c", f"cd {place} && {step.command}", user=user, is_checked=False)
        told = done.stdout + done.stderr
        assert is_reading or done.returncode == 0 or step.command == PLUG, f"{block}: {step.command}\n{told}"
        return told

    def told() -> str:
        return f"{block}: {step.command}\n{run()}\nexpected\n{step.output}"

    if is_reading:
        until(lambda: is_shown(run(), step.output), what=told, seconds=60)
        return
    printed = run()
    assert is_shown(printed, step.output), f"{block}: {step.command}\n{printed}\nexpected\n{step.output}"
