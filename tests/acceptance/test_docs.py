"""The sessions and programs of the documents, run as they stand: tests/unit/test_docs.py checks the rest."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from tests.acceptance.daemon import MARK, Daemon, all_processes, environment_of
from tests.documents import FLEET, ROOT, TUTORIALS, Block, all_blocks, blocks, steps
from tests.plain_user import as_user
from tests.postgres import PostgresServer
from tests.waiting import until

#: Commands that are not run, each for a reason.
NOT_RUN = {
    # It asks a registry for packages. The tests' own environment is one that is installed.
    "python3 -m venv ~/tuned && ~/tuned/bin/pip install .",
    "export PATH=~/tuned/bin:$PATH",
}
#: They only look, so they are asked again until they see what the page shows.
READING = re.compile(r"tunectl (--socket \S+ )?(status|hosts|show|trials|top --once) ?")
#: Texts that differ from run to run: versions, times and a sampler's draws.
VARYING = re.compile(
    r"\d+(\.\d+)+(e-?\d+)?|\d\d:\d\d:\d\d|\b\d+(?=s\b)|(?<=pid )\d+|(?<=[Tt]rial )\d+|(?<=COMPLETE )\d+"
    r"|(?<=Complete )\d+|(?<=\blayers[ =])\d+|(?<=\n)\d+(?= COMPLETE)"
)
DIVIDER = "--- the command has ended:"


class Session:
    """A shell below a home directory of its own, without root, and all that was started from it."""

    def __init__(self, home: Path, user: int | None) -> None:
        self.home = home
        if user is not None:
            os.chown(home, user, user)
        self._user = user
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._shell = subprocess.Popen(
            [*as_user(user), "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=home, env={"HOME": str(home), "PATH": path, "LANG": "C.UTF-8", MARK: str(home)},
            start_new_session=True,
        )  # fmt: skip
        # A shell whose input has ended, however the test did, takes its daemons along.
        self.run("trap 'kill $(jobs -p)' EXIT")

    def run(self, command: str) -> str:
        """Runs a command, which must succeed; its output."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\nprintf '\\n{DIVIDER} %d\\n' $?\n")
        self._shell.stdin.flush()
        output = ""
        for line in self._shell.stdout:
            if line.startswith(DIVIDER):
                assert line == f"{DIVIDER} 0\n", f"{command}\n{output}"
                return output.removesuffix("\n")
            output += line
        raise AssertionError(f"the shell has ended at {command}\n{output}")

    def save(self, name: str, text: str) -> None:
        file = self.home / name.removeprefix("~/")
        file.write_text(text)
        if self._user is not None:
            os.chown(file, self._user, self._user)

    def close(self) -> None:
        """Leaves no process, whatever happened before."""
        with suppress(subprocess.TimeoutExpired):
            self._shell.communicate(timeout=20)
        for pid in all_processes():
            if f"{MARK}={self.home}".encode() in environment_of(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._shell.wait()


@pytest.fixture
def session(plain_user: int | None) -> Iterator[Session]:
    # Below /tmp, because tunectl says that the service does not see it. Short, because sockets lie in it.
    home = Path(tempfile.mkdtemp(prefix="tuned-docs-", dir="/tmp"))
    session = Session(home, plain_user)
    yield session
    session.close()
    shutil.rmtree(home)


@pytest.mark.parametrize("page", [page for page in TUTORIALS if page != FLEET], ids=lambda page: page.stem)
def test_a_tutorial_is_a_session_that_goes_as_it_says(
    page: Path, session: Session, postgres: PostgresServer
) -> None:
    for block in blocks(page):
        text = block.text.replace("/home/you", str(session.home)).replace(":5432/", f":{postgres.port}/")
        if block.saved_as:
            session.save(block.saved_as, text)
        elif block.language == "python":
            session.run(f"python3 <<'END'\n{text}END")
        elif block.language == "sql":
            execute(postgres, text)
        else:
            assert block.language == "console", f"{block} is neither saved nor run"
            follow(session, block)


def follow(session: Session, block: Block) -> None:
    """Runs the commands of a block, and compares their output with what the page shows."""
    for step in steps(block):
        if step.command in NOT_RUN:
            continue
        shown = step.output.replace("/home/you", str(session.home))
        if READING.match(step.command):
            until(
                lambda: is_shown(session.run(f"{step.command} 2>&1 || true"), shown),  # noqa: B023 (called here)
                what=lambda: f"{shown}\nbut {step.command} prints\n{session.run(step.command)}",  # noqa: B023
                seconds=60,
            )
        else:
            printed = session.run(step.command)
            assert is_shown(printed, shown), f"{block}: {step.command}\n{printed}\nexpected\n{shown}"
        if step.command.startswith("kill "):
            session.run("wait %1 2>/dev/null || true")


def is_shown(printed: str, shown: str) -> bool:
    """``...`` on the page stands for any text."""
    pattern = re.escape(plain(shown)).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, plain(printed), re.DOTALL) is not None


def plain(text: str) -> str:
    name = os.uname().nodename
    words = re.sub(r"[ \t]+", " ", re.sub(rf"\b{re.escape(name)}\b", "laptop", text)).replace(" \n", "\n")
    return VARYING.sub("N", f"\n{words.strip()}")


def test_the_readme_can_be_pasted(session: Session) -> None:
    session.run("set -e")
    printed = ""
    for block in blocks(ROOT / "README.md", "sh"):
        lines = [line for line in block.text.splitlines() if line not in NOT_RUN]
        printed = session.run("\n".join(lines))
    assert re.search(r"^first is done, best trial \d+: .+$", printed, re.MULTILINE)
    assert (session.home / ".local/state/tuned/spool/done/first.toml").exists()


def test_every_command_that_is_not_run_is_still_there() -> None:
    lines = {
        line.removeprefix("$ ") for block in all_blocks("console", "sh") for line in block.text.splitlines()
    }
    assert lines >= NOT_RUN


PROGRAMS = [block for block in all_blocks("python") if block.page not in TUTORIALS]


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs(block: Block, tmp_path: Path) -> None:
    is_objective = "def objective(" in block.text
    more = "import optuna\nprint(objective(optuna.create_study().ask()))\n" if is_objective else ""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text + more], cwd=tmp_path,
        env={**os.environ, "TUNED_POINT_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not is_objective or re.search(r"\d", result.stdout)


def test_the_reference_has_every_metric_and_no_other(shared: Daemon) -> None:
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(tuned_\w+)` \|", text, re.MULTILINE))
    answer = b"".join(shared.client.text("/metrics")).decode()
    assert set(re.findall(r"^# TYPE (\w+) ", answer, re.MULTILINE)) == documented


SCRIPTS_OF_SQL = [block for block in all_blocks("sql") if block.page not in TUTORIALS]


def test_every_script_of_sql_is_run_by_postgresql(postgres: PostgresServer) -> None:
    for block in SCRIPTS_OF_SQL:
        execute(postgres, block.text)
        execute(postgres, "DROP DATABASE tuned; DROP ROLE tuned;")


def execute(postgres: PostgresServer, script: str) -> None:
    connection = psycopg2.connect(postgres.url().replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in filter(str.strip, script.split(";")):
            cursor.execute(statement)
    connection.close()
