"""``tunectl try``: one evaluation in front of its reader, with what to do if it goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.daemon import TUNECTL, is_alive
from tests.integration.trial.trees import double_fork, pid_in
from tests.waiting import until

SPACE = '[space.x]\ntype = "int"\nlow = 3\nhigh = 3\n'


class Reader:
    """Somebody in a directory with an experiment file."""

    def __init__(self, here: Path) -> None:
        self.here = here

    def write(self, objective: str) -> None:
        (self.here / "exp.toml").write_text(f"[objective]\n{objective}\n{SPACE}")

    def tries(self, *command: str, objective: str = "") -> subprocess.CompletedProcess[str]:
        self.write(f"command = {json.dumps(command)}\n{objective}" if command else objective)
        return subprocess.run(
            [*TUNECTL, "try", "exp.toml"],
            cwd=self.here,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def starts(self, *command: str) -> subprocess.Popen[bytes]:
        self.write(f"command = {json.dumps(command)}")
        return subprocess.Popen([*TUNECTL, "try", "exp.toml"], cwd=self.here, stderr=subprocess.DEVNULL)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_what_works_shows_its_output_and_its_value(reader: Reader) -> None:
    script = """echo '{{"step": 1, "value": 9}}'; echo "x is $TUNED_PARAM_X"; echo {x}.5"""
    done = reader.tries("sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("x is 3\n3.5\n")
    assert "intermediate value at step 1: 9" in done.stderr
    assert "COMPLETE value 3.5" in done.stderr


def test_a_program_that_is_not_there(reader: Reader) -> None:
    done = reader.tries("no-such-program")
    assert done.returncode == 1
    assert "FAIL exit: cannot run 'no-such-program': not found in PATH" in done.stderr
    assert "there is no program no-such-program in PATH; is it installed?" in done.stderr


def test_no_value_printed(reader: Reader) -> None:
    done = reader.tries("echo", "loss is low")
    assert done.returncode == 1
    assert "FAIL no-value: no value on standard output; the last line was 'loss is low'" in done.stderr
    assert "print the value as the last line" in done.stderr


def test_an_exit_status(reader: Reader) -> None:
    done = reader.tries("sh", "-c", "echo 1; echo 'no data' >&2; exit 3")
    assert done.returncode == 1
    assert "FAIL exit: exit status 3: no data" in done.stderr


def test_a_script_without_its_first_line(reader: Reader) -> None:
    script = reader.here / "train.sh"
    script.write_text("echo 1\n")
    script.chmod(0o755)
    done = reader.tries(str(script))
    assert done.returncode == 1
    assert f"FAIL exit: exit status 126: tuned: cannot run '{script}': Exec format error" in done.stderr
    assert "the first line of a script says what runs it, such as #!/bin/sh" in done.stderr


def test_a_script_with_the_line_ends_of_another_system(reader: Reader) -> None:
    script = reader.here / "train.sh"
    script.write_bytes(b"#!/bin/sh\r\necho 1\r\n")
    script.chmod(0o755)
    done = reader.tries(str(script))
    assert done.returncode == 1
    assert f"cannot run '{script}': its first line names the interpreter /bin/sh\\r" in done.stderr
    assert "convert it, such as with sed -i 's/\\r$//'" in done.stderr


def test_a_number_among_words_gets_its_pattern(reader: Reader) -> None:
    done = reader.tries("echo", "accuracy: 0.{x}")
    assert "metric.pattern = 'accuracy: (?P<value>[-+.\\w]+)'" in done.stderr
    assert "accuracy is usually maximized" in done.stderr
    again = reader.tries(
        "echo", "accuracy: 0.{x}", objective="metric.pattern = 'accuracy: (?P<value>[-+.\\w]+)'"
    )
    assert "COMPLETE value 0.3" in again.stderr


def test_a_timeout(reader: Reader) -> None:
    done = reader.tries("sleep", "600", objective='timeout = "200ms"')
    assert done.returncode == 1
    assert "FAIL timeout: still running after 0.2 s" in done.stderr


def test_a_relative_path(reader: Reader) -> None:
    (reader.here / "train.sh").write_text("echo 1")
    done = reader.tries("sh", "train.sh")
    assert done.returncode == 1
    assert f'write {reader.here}/train.sh, or set [objective] workdir = "{reader.here}"' in done.stderr
    assert reader.tries("sh", "train.sh", objective=f'workdir = "{reader.here}"').returncode == 0


def test_a_python_objective(reader: Reader) -> None:
    (reader.here / "train.py").write_text("def objective(trial): return trial.suggest_int('x', 3, 3)")
    done = reader.tries(objective='python = "train:objective"')
    assert done.returncode == 1
    assert f'set [objective] path = "{reader.here}"' in done.stderr
    done = reader.tries(objective=f'python = "train:objective"\npath = "{reader.here}"')
    assert done.returncode == 0, done.stderr
    assert "COMPLETE value 3" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_interrupts_it_leaves_nothing(reader: Reader, number: signal.Signals) -> None:
    file = reader.here / "pid"
    with reader.starts("sh", "-c", f"{double_fork(file)}; sleep 600") as trying:
        pid = pid_in(file)
        os.kill(trying.pid, number)
        assert trying.wait(60) == 130
    until(lambda: not is_alive(pid), what="the process to be gone")
