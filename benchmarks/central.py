"""The central path: draw, claim and tell with an objective that does nothing, against ``study.optimize``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event

from benchmarks.crew import Crew, Lap, crew, lap, seconds
from benchmarks.ground import KINDS, UNFLUSHED, Ground
from benchmarks.report import Cell, Report, Spread
from benchmarks.rounds import ratio, take_turns
from tests.factories import Member, join, make_experiment, opened
from tuned.domain.claim import Claimed
from tuned.experiment.experiment import Experiment
from tuned.storage.database import Database

ROUNDS = 5
#: Of all processes together in each round, so that both take about as long.
TRIALS = {"study.optimize": 24, "tuned": 120}

SPACE = """
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true

[space.dropout]
type = "float"
low = 0.0
high = 0.5

[space.layers]
type = "int"
low = 1
high = 8

[space.optimizer]
type = "categorical"
choices = ["adam", "sgd"]
"""


def measure(ground: Ground, report: Report) -> None:
    with crew(1) as one, crew(4) as four:
        # A single host's SQLite has one daemon that writes.
        runs = [
            (UNFLUSHED, one),
            (UNFLUSHED, four),
            ("postgresql", one),
            ("postgresql", four),
            ("sqlite", one),
        ]
        results = {(kind, workers.size): _race(ground, kind, workers) for kind, workers in runs}
    report.table(
        "Central path, random sampler, empty objective: trials per second",
        [
            {
                "database": kind,
                "processes": size,
                **spreads,
                "ratio": ratio(spreads["tuned"], spreads["study.optimize"]),
            }
            for (kind, size), spreads in results.items()
        ],
    )
    for size in (1, 4):
        # If each commit waits long for a disk, the ratio is that of the commits, and the rest does not show.
        spreads = results[UNFLUSHED, size]
        found = ratio(spreads["tuned"], spreads["study.optimize"]).median
        report.figure(
            f"central path, {UNFLUSHED}, {size} processes, against study.optimize", found, at_least=8
        )
    count(ground, report)


def count(ground: Ground, report: Report) -> None:
    """Statements and commits of a trial."""
    rows: list[dict[str, Cell]] = []
    for kind in KINDS:
        counted = {"study.optimize": _count_optuna(ground, kind)}
        for sampler in ("random", "tpe"):
            counted[f"tuned, {sampler}"] = _count_tuned(ground, kind, sampler)
        rows += [
            {
                "database": kind,
                "what": name,
                "statements": c.statements / COUNTED,
                "commits": c.commits / COUNTED,
            }
            for name, c in counted.items()
        ]
        trial = counted["tuned, random"]
        # On SQLite each statement is one of its own, which costs no round trip; BEGIN is one, too.
        most = 6 if kind == "postgresql" else 14
        report.count(f"statements of a trial, {kind}", trial.statements / COUNTED, at_most=most)
        report.count(f"commits of a trial, {kind}", trial.commits / COUNTED, at_most=2)
    report.table("Central path: statements and commits of a trial", rows)


#: Trials over which statements are counted.
COUNTED = 20


@dataclass(slots=True)
class Counted:
    statements: int = 0
    commits: int = 0


@contextlib.contextmanager
def counting(engine: Engine) -> Iterator[Counted]:
    """Counts the statements and commits that are sent to the database meanwhile."""
    counted = Counted()

    def note_statement(*_: Any) -> None:
        counted.statements += 1

    def note_commit(*_: Any) -> None:
        counted.commits += 1

    event.listen(engine, "before_cursor_execute", note_statement)
    event.listen(engine, "commit", note_commit)
    yield counted
    event.remove(engine, "before_cursor_execute", note_statement)
    event.remove(engine, "commit", note_commit)


def experiment(name: str, sampler: str = "random") -> Experiment:
    return make_experiment(f'[sampler]\nname = "{sampler}"\n', space=SPACE, name=name)


def suggest(trial: optuna.Trial) -> float:
    """An objective that does nothing but take its parameters."""
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.suggest_int("layers", 1, 8)
    trial.suggest_categorical("optimizer", ["adam", "sgd"])
    return 0.5


def evaluate(member: Member) -> Callable[[], None]:
    """One trial after the other on the central path, one at each call."""
    source = member.source()

    def trial() -> None:
        draft = source.draw()
        claimed = member.claims.claim(draft.candidate)
        source.release(draft)
        assert isinstance(claimed, Claimed), claimed
        member.tell(claimed, 0.5)

    return trial


def _race(ground: Ground, kind: str, workers: Crew) -> dict[str, Spread]:
    with ground.database(kind) as theirs, ground.database(kind) as ours:
        RDBStorage(theirs).engine.dispose()
        with opened(ours):
            pass

        def throughput(name: str, run: Callable[[int, str, str, int], Lap], url: str, number: int) -> float:
            laps = workers.run(run, url, f"s{number}", TRIALS[name] // workers.size)
            return TRIALS[name] / seconds(laps)

        contenders = {"study.optimize": (_optuna, theirs), "tuned": (_tuned, ours)}
        return take_turns(
            ROUNDS,
            {name: partial(throughput, name, run, url) for name, (run, url) in contenders.items()},
        )


def _optuna(_: int, url: str, name: str, trials: int) -> Lap:
    return optimize(url, name, n_trials=trials)


def optimize(url: str, name: str, *, n_trials: int | None = None, timeout: float | None = None) -> Lap:
    """Runs plain Optuna in one process, for so many trials or seconds."""
    storage = RDBStorage(url)
    study = optuna.create_study(
        storage=storage, study_name=name, load_if_exists=True, sampler=RandomSampler()
    )
    found = lap(lambda: study.optimize(suggest, n_trials=n_trials, timeout=timeout))
    storage.engine.dispose()
    return found


def _tuned(number: int, url: str, name: str, trials: int) -> Lap:
    database = Database(url)
    trial = evaluate(join(database, experiment(name), f"h{number}"))
    found = lap(lambda: [trial() for _ in range(trials)])
    database.close()
    return found


def _count_optuna(ground: Ground, kind: str) -> Counted:
    with ground.database(kind) as url:
        storage = RDBStorage(url)
        study = optuna.create_study(storage=storage, sampler=RandomSampler())
        study.optimize(suggest, n_trials=1)
        with counting(storage.engine) as counted:
            study.optimize(suggest, n_trials=COUNTED)
        storage.engine.dispose()
    return counted


def _count_tuned(ground: Ground, kind: str, sampler: str) -> Counted:
    with ground.database(kind) as url, opened(url) as database:
        trial = evaluate(join(database, experiment("counted", sampler)))
        trial()
        with counting(database.engine) as counted:
            for _ in range(COUNTED):
                trial()
    return counted
