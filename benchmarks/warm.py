"""Python objectives: trials per second of an empty one, and how long a trial takes to begin."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import optuna

from benchmarks import host
from benchmarks.central import SPACE, optimize
from benchmarks.crew import Crew, Lap, crew, seconds
from benchmarks.ground import Ground
from benchmarks.report import Cell, Report, Spread
from benchmarks.rounds import ratio, take_turns

ROUNDS = 3
SLOTS = 4
#: Of each round.
SECONDS = 6
#: Trials whose beginning is measured.
BEGINNINGS = 6

EMPTY = """
def objective(trial):
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    trial.suggest_int("layers", 1, 8)
    trial.suggest_categorical("optimizer", ["adam", "sgd"])
    return 0.5
"""

#: Writes down when it begins.
TIMED = """
import time
from pathlib import Path
{imports}

def objective(trial):
    began = time.time()
    with Path(__file__).with_suffix(".began").open("a") as file:
        file.write(f"{{trial.number}} {{began}}\\n")
    return 0.5
"""

MODULES = {"nothing": "", "scikit-learn": "import sklearn.ensemble"}


def measure(ground: Ground, report: Report) -> None:
    with ground.database("postgresql") as url:
        home = ground.directory()
        with host.running(home, url, slots=SLOTS) as daemon:
            _measure_throughput(url, daemon, report)
            _measure_beginnings(daemon, report)


def _measure_throughput(url: str, daemon: host.Host, report: Report) -> None:
    module = daemon.home / "empty.py"
    module.write_text(EMPTY)
    with crew(SLOTS) as workers:
        found = take_turns(
            ROUNDS,
            {
                f"{SLOTS} x study.optimize": partial(_optuna, workers, url),
                "tuned": partial(_tuned, daemon, module),
            },
        )
    against = ratio(found["tuned"], found[f"{SLOTS} x study.optimize"])
    report.table(
        f"Python objective: trials per second of an empty one, {SLOTS} slots, PostgreSQL",
        [{**found, "ratio": against}],
    )
    what = f"empty Python objective against {SLOTS} study.optimize processes"
    report.figure(what, against.median, at_least=1.5)


def _optuna(workers: Crew, url: str, number: int) -> float:
    name = f"plain-{number}"
    laps = workers.run(_optimize, url, name)
    trials = optuna.load_study(storage=url, study_name=name).get_trials(deepcopy=False)
    return len(trials) / seconds(laps)


def _optimize(_: int, url: str, name: str) -> Lap:
    return optimize(url, name, timeout=SECONDS)


def _tuned(daemon: host.Host, module: Path, number: int) -> float:
    name = f"empty-{number}"
    daemon.run(name, host.python_experiment(module, SPACE, f'[budget]\ntime = "{SECONDS}s"\n', slots=SLOTS))
    records = [record for record in daemon.logged() if record.get("experiment") == name]
    began = [host.seconds(record) for record in records if record["event"] == "trial started"]
    ended = [host.seconds(record) for record in records if record["event"] == "trial complete"]
    assert len(ended) == len(began), daemon.log_tail()
    return len(ended) / (max(ended) - min(began))


def _measure_beginnings(daemon: host.Host, report: Report) -> None:
    rows: list[dict[str, Cell]] = []
    for (name, imports), number in zip(MODULES.items(), itertools.count()):
        module = daemon.home / f"timed{number}.py"
        module.write_text(TIMED.format(imports=imports))
        alone = Spread(tuple(_seconds_alone(imports) * 1000 for _ in range(ROUNDS)))
        began = _milliseconds_to_begin(daemon, module)
        rows.append({"the module imports": name, "python -c": alone, "a trial's beginning": began})
        if imports:
            report.figure(f"milliseconds until a trial that imports {name} begins", began.median, at_most=15)
    report.table("Python objective: milliseconds from the claim to the objective's first line", rows)


def _seconds_alone(imports: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", imports], check=True)
    return time.perf_counter() - began


def _milliseconds_to_begin(daemon: host.Host, module: Path) -> Spread:
    budget = f"[budget]\ntrials = {BEGINNINGS + 1}\n"
    daemon.run(module.stem, host.python_experiment(module, SPACE, budget, slots=1), seconds=300)
    claimed = {
        record["trial"]: host.seconds(record)
        for record in daemon.logged()
        if record.get("experiment") == module.stem and record["event"] == "trial started"
    }
    lines = [line.split() for line in module.with_suffix(".began").read_text().splitlines()]
    # The first one imports the module in any case.
    return Spread(tuple((float(at) - claimed[int(trial)]) * 1000 for trial, at in lines[1:]))
