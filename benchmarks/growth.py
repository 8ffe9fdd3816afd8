"""Growth: what a large study costs, to claim in and to tell, to open, to hold in memory, and to follow."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import optuna
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState
from sqlalchemy import Engine

from benchmarks.central import counting, experiment
from benchmarks.crew import crew
from benchmarks.filling import fill, vacuum
from benchmarks.ground import KINDS, Ground
from benchmarks.report import Cell, Report, Spread
from benchmarks.rounds import ratio, take_turns
from tests.acceptance.daemon import resident_megabytes
from tests.factories import Member, join, opened
from tuned.domain.claim import Claimant, Claimed
from tuned.search.sampling import PointSource
from tuned.storage.database import Database

ROUNDS = 9
#: Of each size in each round.
TRIALS = 30
OPENINGS = 3

MANY = 100_000
SOME = 20_000
#: Trials that run elsewhere while new ones are read.
RUNNING = 400


def measure(ground: Ground, report: Report) -> None:
    _measure_claims(ground, report)
    with ground.database("postgresql") as url, opened(url) as database:
        member = join(database, experiment("grown", "tpe"))
        fill(member, SOME)
        vacuum(database)
        _measure_opening(url, report)
        _measure_reading(member, report)


def _measure_claims(ground: Ground, report: Report) -> None:
    results = {}
    for kind in KINDS:
        with (
            ground.database(kind) as small,
            ground.database(kind) as large,
            opened(small) as empty,
            opened(large) as full,
        ):
            members = {0: join(empty, experiment("grown")), MANY: join(full, experiment("grown"))}
            fill(members[MANY], MANY)
            vacuum(full)
            results[kind] = take_turns(
                ROUNDS,
                {
                    f"at {size:,}": partial(_milliseconds, member, member.source())
                    for size, member in members.items()
                },
            )
    rows = {kind: ratio(spreads[f"at {MANY:,}"], spreads["at 0"]) for kind, spreads in results.items()}
    report.table(
        "Growth: milliseconds of a claim and a tell, by finished trials of the study",
        [{"database": kind, **results[kind], "ratio": rows[kind]} for kind in KINDS],
    )
    for kind in KINDS:
        what = f"claim and tell at {MANY:,} finished trials against at 0, {kind}"
        report.figure(what, rows[kind].median, at_most=1.2)


def _milliseconds(member: Member, source: PointSource, _: int) -> float:
    """Of the median trial: one that met a busy moment of the machine says nothing of the study's size."""
    took = []
    for _ in range(TRIALS):
        candidate = source.uniform()
        began = time.perf_counter()
        claimed = member.claims.claim(candidate)
        assert isinstance(claimed, Claimed), claimed
        member.tell(claimed, 0.5)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def _measure_opening(url: str, report: Report) -> None:
    readers = {"tuned": _read_tuned, "Optuna": _read_optuna}
    megabytes: dict[str, float] = {}

    def seconds(name: str, _: int) -> float:
        with crew(1) as alone:
            [(took, grown)] = alone.run(_weigh, url, readers[name])
        megabytes[name] = grown
        return took

    reading = take_turns(OPENINGS, {name: partial(seconds, name) for name in readers})
    with crew(1) as alone:
        drawing = {
            "tuned": alone.run(_weigh, url, _draw_tuned),
            "Optuna": alone.run(_weigh, url, _draw_optuna),
        }
    report.table(
        f"Growth: a process opens a study of {SOME:,} trials, PostgreSQL",
        [
            {
                "who": name,
                "seconds to have read it": reading[name],
                "seconds to a point of TPE": drawing[name][0][0],
                "MiB for 10,000 trials": megabytes[name] * 10_000 / SOME,
            }
            for name in readers
        ],
    )
    found = ratio(reading["tuned"], reading["Optuna"]).median
    report.figure(f"opening a study of {SOME:,} trials against Optuna", found, at_most=1)


def _read_tuned(url: str) -> object:
    member = _open(url)
    history = member.history()
    history.sync()
    member.database.close()
    return history


def _draw_tuned(url: str) -> object:
    member = _open(url)
    source = member.source()
    source.draw()
    member.database.close()
    return source


def _open(url: str) -> Member:
    return join(Database(url), experiment("grown", "tpe"), claimant=Claimant(host="reader", incarnation=""))


def _read_optuna(url: str) -> object:
    study = optuna.load_study(study_name="grown", storage=url)
    study.get_trials(deepcopy=False)
    return study


def _draw_optuna(url: str) -> object:
    study = optuna.load_study(study_name="grown", storage=url, sampler=TPESampler())
    # Only asked for a point: its trial stays RUNNING.
    study.ask(_open(url).encoding.distributions)
    return study


def _weigh(_: int, url: str, open_study: Callable[[str], object]) -> tuple[float, float]:
    """In a new process: seconds, and MiB by which the process has grown."""
    before = resident_megabytes(os.getpid())
    began = time.perf_counter()
    # Kept until it has been weighed.
    kept = open_study(url)
    took = time.perf_counter() - began
    gc.collect()
    grown = resident_megabytes(os.getpid()) - before
    del kept
    return took, grown


def _measure_reading(member: Member, report: Report) -> None:
    """How long it takes to learn of new trials, while many run elsewhere."""
    fill(member, RUNNING, TrialState.RUNNING)
    history = member.history()
    storage = RDBStorage(member.database.url)
    study = optuna.load_study(study_name="grown", storage=_CachedStorage(storage))
    readers = {
        "tuned": _Reader(member.database.engine, history.sync),
        "Optuna": _Reader(storage.engine, lambda: study.get_trials(deepcopy=False)),
    }
    rows: list[dict[str, Cell]] = []
    for new in (0, 10):
        for reader in readers.values():
            reader.milliseconds.clear()
        # The first reading is the whole study, or what the last loop left.
        for _ in range(1 + ROUNDS):
            if new:
                fill(member, new)
            for reader in readers.values():
                reader.read()
        rows += [
            {
                "who": name,
                "new trials": new,
                "milliseconds": Spread(tuple(reader.milliseconds[1:])),
                "statements": reader.statements,
            }
            for name, reader in readers.items()
        ]
    storage.engine.dispose()
    report.table(f"Growth: reading new trials beside {SOME:,} finished and {RUNNING} RUNNING ones", rows)


class _Reader:
    """Follows a study, and keeps the cost of the last look."""

    def __init__(self, engine: Engine, follow: Callable[[], object]) -> None:
        self._engine = engine
        self._follow = follow
        self.milliseconds: list[float] = []
        self.statements = 0

    def read(self) -> None:
        with counting(self._engine) as counted:
            began = time.perf_counter()
            self._follow()
            self.milliseconds.append((time.perf_counter() - began) * 1000)
        self.statements = counted.statements
