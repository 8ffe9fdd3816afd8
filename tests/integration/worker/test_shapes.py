"""Objectives as people write them for Optuna, run unchanged: the shapes of the libraries, without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.worker.test_objective import Objective
from tuned.domain.ending import Ending

pytestmark = pytest.mark.usefixtures("_subreaper")

#: A model that is chosen by its kind, and scored by cross-validation.
SKLEARN = """
import numpy as np

def objective(trial):
    kind = trial.suggest_categorical("kind", ["a", True])
    depth = trial.suggest_int("x", 0, 9)
    scores = np.array([0.5, 0.75]) if kind is True else np.zeros(2)
    trial.set_user_attr("scores", [score for score in scores])
    trial.set_user_attr("depth", np.int64(depth))
    return scores.mean()
"""

#: A callback that looks at the direction once, reports each round, and asks whether to prune.
LIGHTGBM = """
import numpy as np

class Pruning:
    def __init__(self, trial, metric):
        self.trial, self.metric = trial, metric

    def __call__(self, round, results):
        if round == 0 and self.trial.study.direction != optuna.study.StudyDirection.MINIMIZE:
            raise ValueError("the direction is inconsistent")
        self.trial.report(results[self.metric], step=round)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"pruned at iteration {round}")

def train(callbacks, rounds):
    for round in np.arange(rounds):
        print(f"[{round + 1}] valid_0's binary_logloss: {1 / (round + 1)}", flush=True)
        for each in callbacks:
            each(round, {"binary_logloss": np.float32(0.5) / (round + 1)})
    return 0.125

def objective(trial):
    return train([Pruning(trial, "binary_logloss")], rounds=3)
"""

#: Epochs that redraw a bar with carriage returns, and a history whose last value is returned.
KERAS = r"""
import sys

def fit(epochs):
    history = {"val_accuracy": []}
    for epoch in range(epochs):
        print(f"Epoch {epoch + 1}/{epochs}")
        for step in range(3):
            sys.stdout.write(f"\r{step + 1}/3 [=====>] - loss: 0.{step} - accuracy: 0.9{step}")
        print()
        history["val_accuracy"].append(0.9 + epoch / 100)
    return history

def objective(trial):
    value = fit(2)["val_accuracy"][-1]
    sys.stdout.write("\r1.000")
    return value
"""

#: A loop of epochs in which the objective itself gives up.
PYTORCH = """
class Tensor:
    def __float__(self): return 0.5
    def item(self): return 0.5

def objective(trial):
    for epoch in range(9):
        trial.report(Tensor(), epoch)
        if trial.should_prune() or epoch == 2:
            raise optuna.exceptions.TrialPruned()
"""

#: Options of a script, with defaults.
ARGPARSE = """
import argparse
parser = argparse.ArgumentParser(description="trains")
parser.add_argument("--no-cuda", action="store_true")
parser.add_argument("--epochs", type=int, default=4)
args = parser.parse_args()

def objective(trial):
    return args.epochs + trial.suggest_int("x", 0, 9)

if __name__ == "__main__":
    optuna.create_study().optimize(objective)
"""

#: Bars on standard error, from a thread as well, and one that is left open.
TQDM = r"""
import sys, threading

def bar(total):
    for n in range(total + 1):
        sys.stderr.write(f"\r{n * 100 // total:3d}%|####  | {n}/{total} [00:00<00:00, 99.9it/s]")
        yield n

def objective(trial):
    thread = threading.Thread(target=lambda: list(bar(50)))
    thread.start()
    total = sum(bar(10))
    thread.join()
    print("0.99", end="")
    return total
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SKLEARN, Ending(values=(0.625,), user_attrs={"scores": "[0.5, 0.75]", "depth": "3"})),
        (LIGHTGBM, Ending(values=(0.125,), intermediate={0: 0.5, 1: 0.25, 2: 0.5 / 3})),
        (KERAS, Ending(values=(0.91,))),
        (PYTORCH, Ending(values=(0.5,), is_pruned=True, intermediate=dict.fromkeys(range(3), 0.5))),
        (ARGPARSE, Ending(values=(7.0,))),
        (TQDM, Ending(values=(55.0,))),
    ],
    ids=["sklearn", "lightgbm", "keras", "pytorch", "argparse", "tqdm"],
)
async def test_an_objective_of_this_shape_runs_unchanged(
    tmp_path: Path, source: str, expected: Ending
) -> None:
    ending = await Objective(tmp_path).run(source)
    assert ending.state is expected.state, (tmp_path / "output.log").read_text()
    assert ending.values == pytest.approx(expected.values)
    assert ending.intermediate == pytest.approx(expected.intermediate)
    assert ending.user_attrs == expected.user_attrs
