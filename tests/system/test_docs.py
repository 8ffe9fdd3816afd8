"""The administrator's way, word by word: the blocks of the how-to pages are what is run on a booted host."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.daemon import an_experiment
from tests.acceptance.test_docs import execute
from tests.documents import ROOT, Block, blocks
from tests.postgres import PostgresServer
from tests.system.fleet import GRID, PASSWORD
from tests.system.machine import CannotBoot, Machine, require_host
from tests.waiting import until

HOW_TO = ROOT / "docs" / "how-to"

#: Where the administrator has the clone, with the package in it.
CLONE = "/var/tmp/clone"

#: It was run before the tests, on the machine that builds.
BUILT = "make deb"

#: They only look, so they are asked until they have seen what they should.
LOOKING = ("tunectl status", "tunectl hosts", "tunectl doctor")


class Administrator:
    """Follows the pages: ``#`` as root, ``$`` as alice, on a host of its own and its own database."""

    def __init__(self, host: Machine, server: PostgresServer) -> None:
        self.host = host
        self.server = server

    def adapted(self, text: str) -> str:
        """The page's placeholders, as this database has them."""
        place = f"127.0.0.1:{self.server.port}"
        text = text.replace("db.example.org:5432", place).replace("db.example.org", place)
        return text.replace("'...'", f"'{PASSWORD}'").replace("PASSWORD\n", f"{PASSWORD}\n")

    def follow(self, block: Block) -> str:
        """Runs the commands of a block; the output of the last one."""
        printed = ""
        for line in block.text.splitlines():
            user = {"#": None, "$": "alice"}[line[0]]
            command = line[2:]
            if command != BUILT:
                printed = self.run(command, user)
        return printed

    def run(self, command: str, user: str | None) -> str:
        home = CLONE if user is None else "/home/alice"

        def run(*, is_checked: bool) -> str | None:
            # A person answers yes.
            done = self.host.run(
                "sh", "-c", f"cd {home} && {command}", user=user, stdin="y\n", is_checked=is_checked
            )
            # Just after a start, no host may have joined yet: a person looks again.
            is_ready = done.returncode == 0 and not done.stdout.startswith("No hosts")
            return done.stdout if is_ready else None

        if command in LOOKING:
            return until(
                lambda: run(is_checked=False) or "", what=lambda: f"{run(is_checked=True)}", seconds=60
            )
        return run(is_checked=True) or ""

    def write(self, path: str, text: str, mode: str = "0640", *, appending: bool = False) -> None:
        into = ">>" if appending else ">"
        self.host.run("sh", "-c", f"cat {into} {shlex.quote(path)}; chmod {mode} {path}", stdin=text)


def section(page: str, title: str) -> list[Block]:
    """The blocks below a heading."""
    lines = (HOW_TO / page).read_text().splitlines()
    first = lines.index(f"## {title}") + 1
    after = (number for number, line in enumerate(lines[first:], first) if line.startswith("## "))
    last = next(after, len(lines))
    found = [block for block in blocks(HOW_TO / page) if first < block.line <= last]
    assert found, f"{page} has nothing below {title}"
    return found


@pytest.fixture(scope="module")
def administrator() -> Iterator[Administrator]:
    try:
        require_host()
    except CannotBoot as reason:
        pytest.exit(f"cannot boot hosts for the tests: {reason}", returncode=1)
    host = Machine("gamma")
    with PostgresServer() as server:
        server.require_password(of="tuned")
        try:
            host.start_boot()
            host.until_up()
            host.run("useradd", "--create-home", "--user-group", "alice")
            deb = Path(os.environ["TUNED_TEST_DEB"])
            host.run("mkdir", "-p", f"{CLONE}/build/deb")
            shutil.copy(deb, host.path(f"{CLONE}/build/deb/{deb.name}"))
            yield Administrator(host, server)
        finally:
            host.close()


def test_a_host_becomes_one_of_a_fleet_as_the_pages_say(administrator: Administrator) -> None:
    installing, starting, restarting = (
        block for block in section("install.md", "As a Debian package") if block.language == "console"
    )
    administrator.follow(installing)
    assert "running" in administrator.follow(starting)
    [sql] = section("fleet.md", "The database")
    execute(administrator.server, administrator.adapted(sql.text))
    storage, password, looking, asking, forgetting = section("fleet.md", "Each host")
    administrator.write("/etc/tuned/tuned.toml", administrator.adapted(storage.text))
    # Without the password the host does not get far, and the doctor says what to do.
    administrator.run("systemctl restart tuned", None)

    def told() -> bool:
        told = administrator.host.run("tunectl", "doctor", is_checked=False)
        return told.returncode == 1 and "/etc/tuned/pgpass, then: systemctl restart tuned" in told.stdout

    until(told, what="the remedy", seconds=60)
    administrator.write("/etc/tuned/pgpass", administrator.adapted(password.text), "0600")
    assert "gamma" in administrator.follow(restarting)
    assert "Nothing is wrong." in administrator.follow(looking)
    # No other host is there to be asked.
    assert asking.text.startswith("$ tunectl drain --host beta\n")
    unknown = administrator.host.run("tunectl", "drain", "--host", "beta", is_checked=False)
    assert (unknown.returncode, "there is none of this name" in unknown.stderr) == (1, True)
    # Only a host that is gone is forgotten.
    assert forgetting.text == "$ tunectl hosts --forget beta\n"
    alive = administrator.host.run("tunectl", "hosts", "--forget", "gamma", is_checked=False)
    assert (alive.returncode, "it is alive" in alive.stderr) == (1, True)


def test_an_experiment_is_submitted_as_the_page_says(administrator: Administrator) -> None:
    submitting = section("fleet.md", "Experiments")[0]
    administrator.write("/home/alice/minima.toml", an_experiment(high=3, more=GRID), "0644")
    administrator.follow(submitting)
    done = administrator.host.path("/var/spool/tuned/done/minima.toml")
    until(done.exists, what="the experiment to be done", seconds=60)


def test_metrics_are_read_as_the_page_says(administrator: Administrator) -> None:
    listening = next(block for block in section("monitor.md", "Let Prometheus read the metrics"))
    administrator.write("/etc/tuned/tuned.toml", listening.text, appending=True)
    [restarting] = (
        block
        for block in section("systemd.md", "Change the database's password")
        if block.language == "console"
    )
    administrator.follow(restarting)
    script = (
        "from urllib.request import urlopen as u; print(u('http://127.0.0.1:9464/metrics').read().decode())"
    )
    ask = ("python3", "-c", script)

    def scraped() -> str:
        return administrator.host.run(*ask, is_checked=False).stdout

    until(lambda: "tuned_slots " in scraped(), what="the metrics", seconds=60)
    by_socket = section("monitor.md", "Without a port")[0]
    assert 'tuned_info{host="gamma"' in administrator.follow(by_socket)
    for name in ("tuned.rules.yml", "grafana-dashboard.json"):
        assert administrator.host.path(f"/usr/share/doc/tuned-hpo/monitoring/{name}").exists()


def test_what_the_pages_name_is_installed(administrator: Administrator) -> None:
    table = [line for line in (HOW_TO / "install.md").read_text().splitlines() if line.startswith("| `/")]
    named = [part for line in table for part in line.split("|")[1].split("`")[1::2]]
    assert len(named) > 6
    # Nobody has made drop-ins.
    missing = [path for path in named if not administrator.host.path(path).exists()]
    assert missing in ([], ["/etc/tuned/tuned.toml.d/"])
    for page in ("tunectl.1", "tuned.8", "tuned-dashboard.8", "tuned.toml.5", "tuned-experiment.5"):
        assert administrator.host.path(f"/usr/share/man/man{page[-1]}/{page}").exists()
    assert administrator.host.path("/usr/share/doc/tuned-hpo/examples/minimal/minimal.toml").exists()


def test_it_is_removed_as_the_page_says(administrator: Administrator) -> None:
    [removing] = section("install.md", "Remove")
    administrator.follow(removing)
    for path in ("/var/lib/tuned", "/var/spool/tuned", "/etc/tuned", "/usr/bin/tuned"):
        assert not administrator.host.path(path).exists()
