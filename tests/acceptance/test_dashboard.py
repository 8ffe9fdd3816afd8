"""``tuned-dashboard`` beside a real daemon, asked as a browser asks it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment
from tests.waiting import until
from tuned import dashboard

COMMAND = [sys.executable, "-c", f"from {dashboard.__name__} import main; main()"]

GRID = '[sampler]\nname = "grid"\n'


@contextmanager
def serving(config: Path) -> Iterator[str]:
    """A dashboard on the database of these settings; its address. It ends with 0 when it is told to."""
    with subprocess.Popen(
        [*COMMAND, "--config", config, "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield found.group()
                    break
            else:
                raise AssertionError(f"it ended with {process.wait()}")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def ask(address: str, path: str, method: str = "GET") -> Any:
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}{path}", method=method, headers=headers), timeout=60) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def test_a_study_of_the_daemon_is_shown_and_can_be_deleted(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url).start()
    daemon.run("seen", an_experiment("echo {x}", high=3, more=GRID))
    with serving(daemon.config) as address:
        (study,) = ask(address, "/api/studies")["study_summaries"]
        assert study["study_name"] == "seen"
        shown = ask(address, f"/api/studies/{study['study_id']}")
        assert sorted(trial["values"] for trial in shown["trials"]) == [[0.0], [1.0], [2.0], [3.0]]
        assert {trial["state"] for trial in shown["trials"]} == {"Complete"}
        ask(address, f"/api/studies/{study['study_id']}", "DELETE")
        assert ask(address, "/api/studies")["study_summaries"] == []
    # The name is free again, as if there had never been such a study.
    (daemon.spool / "done" / "seen.toml").unlink()
    daemon.run("seen", an_experiment("echo {x}", high=1, more=GRID))
    assert {trial.value for trial in daemon.study("seen").trials} == {0.0, 1.0}


def test_a_study_that_is_deleted_while_it_runs_ends_here_and_hurts_nothing_else(
    make: MakeDaemon, database_url: str
) -> None:
    daemon = make(storage=database_url).start()
    daemon.drop("gone", an_experiment("sleep 1000", high=9, more=GRID))
    daemon.until_running(2)
    with serving(daemon.config) as address:
        (study,) = ask(address, "/api/studies")["study_summaries"]
        ask(address, f"/api/studies/{study['study_id']}", "DELETE")
    until(lambda: daemon.running() == 0, what="its trials to end")
    daemon.run("next", an_experiment("echo {x}", high=1, more=GRID))


def test_settings_that_cannot_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "tuned.toml"
    config.write_text("storage = 5\n")
    done = subprocess.run(
        [*COMMAND, "--config", config], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"tuned-dashboard: {config}: storage: found 5, expected ")
    assert "Traceback" not in done.stderr
