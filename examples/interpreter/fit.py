"""Fits a line to noisy numbers, in a virtual environment that has neither tuned nor Optuna.

python3.9 -m venv /srv/line/.venv
"""

from __future__ import annotations

import random
from typing import Any

NUMBERS = [(x / 10, 3 * x / 10 + random.Random(x).gauss(1, 0.1)) for x in range(20)]


def objective(trial: Any) -> float:
    rate = trial.suggest_float("rate", 0.001, 1.0, log=True)
    slope, start, loss = 0.0, 0.0, 0.0
    for epoch in range(20):
        errors = [(x, slope * x + start - y) for x, y in NUMBERS]
        slope -= rate * sum(error * x for x, error in errors) / len(errors)
        start -= rate * sum(error for _, error in errors) / len(errors)
        loss = sum(error * error for _, error in errors) / len(errors)
        trial.report(loss, epoch)
        if trial.should_prune():
            # With Optuna installed, optuna.TrialPruned does the same.
            raise trial.TrialPruned
    return loss
