"""The evaluations, as the trial commands themselves wrote them down: one line at start, one at the end.

The ledger is an append-only file outside of the database, so that the evidence against the database's word
does not come from it. An evaluation is named by the id of its claim, from the mark of its processes,
because a database that forgets its last transactions gives numbers of trials again. Times are seconds since
the machine's start, as ``/proc/uptime`` has them.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

#: The shell writes each line by one write to a file that is open for appending. ``{{`` is a brace.
SCRIPT = """\
mark="$TUNED_EXPERIMENT $TUNED_PARAM_X ${{TUNED_MARK##*/}} $TUNED_ATTEMPT $TUNED_HOST"
read -r now _ < /proc/uptime
echo "start $mark $now" >> "$LEDGER"
sleep "$({pause})"
value={value}
read -r now _ < /proc/uptime
echo "end $mark $now $value" >> "$LEDGER"
[ "$value" = - ] && exit 1
echo "$value"
"""

#: A Python objective that writes the same lines.
MODULE = """\
import os, time


def note(what, *more):
    names = ("EXPERIMENT", "PARAM_X", "MARK", "ATTEMPT", "HOST")
    words = [os.environ["TUNED_" + name].rpartition("/")[2] for name in names]
    line = " ".join([what, *words, str(time.clock_gettime(time.CLOCK_BOOTTIME)), *map(str, more)])
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
    os.write(ledger, (line + "\\n").encode())
    os.close(ledger)


def objective(trial):
    x, attempt = trial.suggest_int("x", 0, int(os.environ["HIGH"])), int(os.environ["TUNED_ATTEMPT"])
    note("start")
    time.sleep(6.5 if trial.number % 9 == 4 else 0.1 + (x + trial.number) * 11 % 90 / 100)
    if (x + trial.number) % 8 + attempt == 1:
        note("end", "-")
        raise RuntimeError("flaky")
    note("end", x * 3 + 1)
    return x * 3 + 1
"""

#: Each point has one value, so that a value tells which point it is of.
VALUE = "$((TUNED_PARAM_X * 3 + 1))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One attempt at one point by one process."""

    experiment: str
    x: int
    claim: str
    attempt: int
    host: str
    started: float
    #: None: it was killed.
    ended: float | None = None
    #: None if it failed or was killed.
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A trial's look at its own code."""

    claim: str
    attempt: int
    host: str
    at: float
    #: A digest of all that it found.
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """One run of the set-up of code."""

    host: str
    started: float
    #: None: it failed or was killed.
    ended: float | None = None


def now() -> float:
    """By the clock of the ledger."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def moment_of(timestamp: str) -> float:
    """A time of a log by the clock of the ledger."""
    return now() - (time.time() - dt.datetime.fromisoformat(timestamp).timestamp())


class Ledger:
    """One file that all evaluations of a fleet write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def objective(self, *, pause: str = "echo 0", value: str = VALUE) -> str:
        """Keeps the ledger. ``pause`` prints the seconds that it takes; value ``-`` is a failure."""
        command = json.dumps(["sh", "-c", self.script(pause=pause, value=value)])
        return f'[objective]\ncommand = {command}\nenv = {{ LEDGER = "{self.path}" }}\n'

    @staticmethod
    def script(*, pause: str, value: str) -> str:
        """The objective's own shell script."""
        return SCRIPT.replace("{pause}", pause).replace("{value}", value)

    def python(self, high: int) -> str:
        """A Python objective of x up to ``high`` that keeps the ledger, and pauses and fails by itself."""
        (self.path.parent / "ledger_objective.py").write_text(MODULE)
        return (
            f'[objective]\npython = "ledger_objective:objective"\npath = "{self.path.parent}"\n'
            f'env = {{ LEDGER = "{self.path}", HIGH = "{high}" }}\n'
        )

    def count(self) -> int:
        """How many evaluations have started."""
        return self.path.read_text().count("start ")

    def evaluations(self, experiment: str) -> list[Evaluation]:
        """In the order in which they started."""
        found: dict[tuple[str, str], Evaluation] = {}
        for line in self.path.read_text().splitlines():
            what, name, x, claim, attempt, host, at, *value = line.split()
            if name != experiment or what not in {"start", "end"}:
                continue
            if what == "start":
                assert (claim, attempt) not in found, f"started twice: {line}"
                found[claim, attempt] = Evaluation(
                    experiment=name, x=int(x), claim=claim, attempt=int(attempt), host=host,
                    started=float(at),
                )  # fmt: skip
            else:
                number = None if value[0] == "-" else float(value[0])
                found[claim, attempt] = replace(found[claim, attempt], ended=float(at), value=number)
        return list(found.values())

    def looks(self, experiment: str) -> list[Look]:
        """In the order in which they were taken."""
        return [
            Look(claim=claim, attempt=int(attempt), host=host, at=float(at), seen=seen)
            for what, name, _, claim, attempt, host, at, *more in self._words()
            if what == "look" and name == experiment
            for seen in more
        ]

    def set_ups(self, experiment: str) -> list[SetUp]:
        """In the order in which they started."""
        found: dict[str, SetUp] = {}
        for what, name, _, run, _, host, at, *_ in self._words():
            if name == experiment and what == "set-up":
                found[run] = SetUp(host=host, started=float(at))
            elif name == experiment and what == "prepared":
                found[run] = replace(found[run], ended=float(at))
        return list(found.values())

    def _words(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()]
