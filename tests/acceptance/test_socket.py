"""The control socket of the real daemon: who may ask, what is streamed and measured, and who may listen."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.postgres import PostgresServer
from tests.waiting import until
from tuned.control import routes
from tuned.control.peers import Access
from tuned.protocol.trials import TrialsView

GRID = '[sampler]\nname = "grid"\n'

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")

NOBODY = 65534

#: All that anyone may read of an experiment with a trial 0; the stream of events has no end.
READABLE = [
    route.path.format(name="watched", number=0)
    for route in routes.ROUTES
    if route.access is Access.ANYONE and route.path != "/v1/events"
]


@pytest.fixture
def public_daemon() -> Iterator[Daemon]:
    """Everybody can come to its socket: it does not lie below a directory that only we may enter."""
    home = Path(tempfile.mkdtemp(prefix="tuned-public-"))
    home.chmod(0o755)
    daemon = Daemon(home)
    yield daemon.start()
    daemon.close()
    shutil.rmtree(home)


def ask_as(uid: int, path: Path, method: str, target: str) -> tuple[int, str]:
    """Asks in a process of its own that belongs to this user; the answer's status and body."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                head = f"{method} {target} HTTP/1.1\r\nHost: tuned\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode())
                theirs.sendall(connection.makefile("rb").read())
        os._exit(0)
    theirs.close()
    with ours:
        answer = http.client.HTTPResponse(ours)
        answer.begin()
        found = answer.status, answer.read().decode()
    os.waitpid(child, 0)
    return found


@NEEDS_ROOT
def test_an_unprivileged_user_may_read_and_not_change(public_daemon: Daemon) -> None:
    daemon, path = public_daemon, public_daemon.socket
    daemon.run("watched", an_experiment("printf se%s cret >&2; exit 3", high=1, more=GRID))
    status, body = ask_as(NOBODY, path, "GET", "/v1/status")
    assert (status, json.loads(body)["state"]) == (200, "running")
    assert ask_as(NOBODY, path, "GET", "/metrics")[0] == 200
    for target in ("/v1/drain", "/v1/abort", "/v1/experiments/watched/cancel"):
        status, body = ask_as(NOBODY, path, "POST", target)
        assert (status, json.loads(body)["error"]["code"]) == (403, "forbidden")
    assert ask_as(NOBODY, path, "GET", "/v1/experiments/watched/logs")[0] == 403
    for target in READABLE:
        status, body = ask_as(NOBODY, path, "GET", target)
        assert (target, status, "secret" in body) == (target, 200, False)
    trials = daemon.client.get("/v1/experiments/watched/trials", TrialsView)["trials"]
    assert trials[0]["failure"] is not None
    assert "secret" in trials[0]["failure"]["message"]
    assert daemon.status()["state"] == "running"
    assert {each["uid"] for each in daemon.logged() if each["event"] == "request refused"} == {NOBODY}


# Events and metrics


def test_the_events_tell_a_trial_from_its_file_to_its_end(shared: Daemon) -> None:
    stream = shared.watching()
    shared.drop("told", an_experiment(high=0, more=GRID))
    told = []
    for event in stream:
        if event.get("experiment") == "told":
            told.append(event)
        if event["event"] == "experiment-state":
            break
    assert [each["event"] for each in told] == [
        "experiment-taken", "trial-started", "trial-ended", "experiment-state",
    ]  # fmt: skip
    taken, started, ended, over = told
    assert taken["file"] == "told.toml"
    assert (started["trial"], started["attempt"], started["params"]) == (0, 1, {"x": 0})
    assert 0 <= started["slot"] < 4
    assert (ended["trial"], ended["state"], ended["values"]) == (0, "COMPLETE", [0.0])
    assert over["state"] == "done"
    assert {each["host"] for each in told} == {"alpha"}


def test_the_events_tell_of_failures_and_duplicates(shared: Daemon) -> None:
    stream = shared.watching()
    random = '[sampler]\nname = "random"\nseed = 1\n[dedup]\npatience = 1000\n'
    script = "test $TUNED_PARAM_X != 3 || exit 7"
    shared.drop("endings", "parallel = 1\n" + an_experiment(script, high=19, more=random))
    is_over = {"event": "experiment-state", "experiment": "endings", "state": "done"}.items()
    told = list(itertools.takewhile(lambda event: not is_over <= event.items(), stream))
    failures = [event["failure"] for event in told if event.get("failure")]
    assert failures == [{"cause": "exit", "message": "exit status 7"}]
    twins = [event["duplicate_of"] for event in told if event.get("duplicate_of")]
    assert {twin["host"] for twin in twins if twin is not None} == {"alpha"}


LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-z_]+)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")


def test_metrics_are_prometheus_text(shared: Daemon) -> None:
    shared.drop("measured", an_experiment("sleep 1000", high=9, more=GRID))
    busy = 'tuned_fleet_trials{experiment="measured",state="running"} 4.0'
    until(lambda: busy in metrics(shared), what="four trials in the metrics")
    lines = metrics(shared)
    samples = [SAMPLE.fullmatch(line) for line in lines if not line.startswith("#")]
    numbers = {(found[1], found[2]): float(found[3]) for found in samples if found}
    assert len(numbers) == len(samples)
    assert numbers["tuned_slots_busy", None] == 4
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} >= {
        re.sub("_(bucket|sum|count)$", "", name) for name, _ in numbers
    }


def metrics(daemon: Daemon) -> list[str]:
    return b"".join(daemon.client.text("/metrics")).decode().splitlines()


# One daemon per socket


def test_the_socket_of_a_killed_daemon_is_replaced(daemon: Daemon) -> None:
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.abort() == 0
    assert not daemon.socket.exists()


@pytest.mark.parametrize("shared_part", ["socket", "spool", "state"])
def test_a_second_daemon_is_refused_what_the_first_one_has(
    shared: Daemon, make: MakeDaemon, shared_part: str
) -> None:
    # The directory of its database must be there, whatever state directory it has.
    second = make("b", host="beta", storage=f"sqlite:///{shared.home / 'b.db'}")
    setattr(second, shared_part, getattr(shared, shared_part))
    assert second.launch().wait(60) == 1
    [message] = [line for line in second.log.read_text().splitlines() if line.startswith("tuned: ")]
    assert str(getattr(shared, shared_part)) in message
    assert "another daemon" in message
    assert "Traceback" not in second.log.read_text()
    assert shared.status()["state"] == "running"


def test_a_second_daemon_of_the_same_name_is_refused(shared: Daemon, make: MakeDaemon) -> None:
    second = make("b", storage=shared.storage)
    assert second.launch().wait(60) == 1
    assert "cannot join the fleet as alpha: another live daemon has this name" in second.log_tail()
    assert not second.socket.exists()


# A database that is away


def test_a_daemon_whose_database_is_not_up_yet_answers_and_goes_on_when_it_comes(
    make: MakeDaemon, postgres: PostgresServer
) -> None:
    postgres.stop()
    daemon = make(storage=postgres.url()).start()
    until(lambda: not daemon.status()["database"]["reachable"], what="the database to be away")
    daemon.drop("early", an_experiment(high=3, more=GRID, count=daemon.count_file("early")))
    until(lambda: daemon.status()["warnings"], what="the file to wait")
    assert "away: " in daemon.tunectl("status").stdout
    listed = daemon.tunectl("list")
    assert (listed.returncode, listed.stdout) == (1, "")
    assert "database" in listed.stderr
    postgres.start()
    daemon.until_in("done", "early")
    assert daemon.evaluations("early") == {"0": 1, "1": 1, "2": 1, "3": 1}
    assert daemon.status()["database"]["reachable"]
    assert daemon.abort() == 0
