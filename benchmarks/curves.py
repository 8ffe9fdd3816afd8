"""Learning curves of real models: the validation loss after each epoch, as ``training.py`` found it.

A search replays them without any training.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("curves.csv")

EPOCHS = 27

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
MOMENTA = (0.0, 0.5, 0.9)
WIDTHS = (16, 32, 64)
BATCHES = (16, 64)
ALPHAS = (0.0001, 0.01, 1.0)
ACTIVATIONS = ("relu", "tanh", "logistic")


class Model(NamedTuple):
    rate: float
    momentum: float
    #: Of the hidden layer.
    width: int
    batch: int
    #: The strength of the L2 penalty.
    alpha: float
    activation: str


MODELS: tuple[Model, ...] = tuple(
    itertools.starmap(Model, itertools.product(RATES, MOMENTA, WIDTHS, BATCHES, ALPHAS, ACTIVATIONS))
)


def read() -> dict[Model, list[float]]:
    """The validation loss after each epoch, by model."""
    with TABLE.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {
            Model(float(rate), float(momentum), int(width), int(batch), float(alpha), activation): [
                float(loss) for loss in losses
            ]
            for rate, momentum, width, batch, alpha, activation, *losses in rows
        }
