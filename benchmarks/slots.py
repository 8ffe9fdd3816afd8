"""Slots that never wait: evaluation time in proportion to slots and wall, through the real daemon."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import partial

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage

from benchmarks import host
from benchmarks.central import SPACE, suggest
from benchmarks.crew import Crew, Lap, crew, lap
from benchmarks.filling import fill, vacuum
from benchmarks.ground import Ground
from benchmarks.report import Cell, Report
from benchmarks.rounds import take_turns
from tests.factories import join, opened
from tuned.experiment.experiment import parse

ROUNDS = 2
SLOTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One kind of experiment."""

    command_seconds: float
    trials: int
    sampler: str
    #: Finished trials that the study has at the beginning.
    history: int
    #: The utilisation to reach in percent; None: only shown.
    goal: float | None

    @property
    def name(self) -> str:
        return f"{self.sampler}-{self.history}-{self.command_seconds}"

    @property
    def command(self) -> list[str]:
        return ["sh", "-c", f"sleep {self.command_seconds}; echo 0.5"]

    def percent(self, slots: list[Lap]) -> float:
        """Of each slot's own time, from its first trial's beginning to its last one's end."""
        return 100 * self.trials * self.command_seconds / sum(ended - began for began, ended in slots)


LOADS = (
    Load(command_seconds=1, trials=32, sampler="tpe", history=5000, goal=98),
    Load(command_seconds=0.1, trials=120, sampler="random", history=0, goal=95),
    Load(command_seconds=0.1, trials=120, sampler="tpe", history=0, goal=None),
    Load(command_seconds=0.1, trials=60, sampler="tpe", history=5000, goal=None),
)

SAMPLERS: dict[str, type[BaseSampler]] = {"random": RandomSampler, "tpe": TPESampler}


def measure(ground: Ground, report: Report) -> None:
    rows: list[dict[str, Cell]] = []
    with (
        crew(SLOTS) as workers,
        ground.database("postgresql") as url,
        host.running(ground.directory(), url, slots=SLOTS) as daemon,
    ):
        for load in LOADS:
            contenders = {
                "bare processes": partial(_bare, workers, load),
                "study.optimize": partial(_optuna, ground, workers, load),
                "tuned": partial(_tuned, daemon, load),
            }
            spreads = take_turns(ROUNDS, contenders)
            rows.append(
                {
                    "command": f"{load.command_seconds} s",
                    "sampler": load.sampler,
                    "history": load.history,
                    **spreads,
                }
            )
            if load.goal is not None:
                what = f"utilisation, {load.command_seconds} s commands, {load.sampler}, percent"
                report.figure(what, spreads["tuned"].median, at_least=load.goal)
    report.table(f"Slots: utilisation in percent, {SLOTS} slots, PostgreSQL", rows)


def _prefill(url: str, load: Load, name: str) -> str:
    """Makes the study with its history; returns the text of its file."""
    text = host.experiment(load.command, SPACE, sampler=load.sampler, trials=load.trials)
    with opened(url) as database:
        member = join(database, parse(text.encode(), f"{name}.toml"), host="filler")
        if load.history:
            fill(member, load.history)
            vacuum(database)
    return text


def _tuned(daemon: host.Host, load: Load, number: int) -> float:
    name = f"{load.name}-{number}"
    text = _prefill(daemon.storage, load, name)
    daemon.run(name, text, seconds=300)
    return load.percent([*host.spans(daemon, name).values()])


def _optuna(ground: Ground, workers: Crew, load: Load, _: int) -> float:
    with ground.database("postgresql") as url:
        _prefill(url, load, "plain")
        return load.percent(workers.run(_optimize, url, load))


def _optimize(_: int, url: str, load: Load) -> Lap:
    def objective(trial: optuna.Trial) -> float:
        suggest(trial)
        return float(subprocess.run(load.command, check=True, capture_output=True).stdout)

    storage = RDBStorage(url)
    study = optuna.load_study(storage=storage, study_name="plain", sampler=SAMPLERS[load.sampler]())
    # Read before the clock starts, as the daemon has when it opens the study.
    study.get_trials(deepcopy=False)
    found = lap(lambda: study.optimize(objective, n_trials=load.trials // SLOTS))
    storage.engine.dispose()
    return found


def _bare(workers: Crew, load: Load, _: int) -> float:
    """The machine's own limit: the same processes one after the other, and nothing else."""
    return load.percent(workers.run(_run, load))


def _run(_: int, load: Load) -> Lap:
    def run() -> None:
        for _ in range(load.trials // SLOTS):
            subprocess.run(load.command, check=True, capture_output=True)

    return lap(run)
