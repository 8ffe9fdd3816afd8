"""Learning curves of real models: the validation loss after each epoch, as ``training.py`` found it.

A search replays them without any training.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

TABLE = Path(__file__).with_name("curves.csv")

EPOCHS = 27

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MOMENTA = (0.0, 0.5, 0.9)
WIDTHS = (8, 16, 32, 64)
BATCHES = (16, 64, 256)

#: A model: learning rate, momentum, width of the hidden layer, batch size.
Model = tuple[float, float, int, int]

MODELS: tuple[Model, ...] = tuple(itertools.product(RATES, MOMENTA, WIDTHS, BATCHES))


def read() -> dict[Model, list[float]]:
    """The validation loss after each epoch, by model."""
    with TABLE.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {
            (float(rate), float(momentum), int(width), int(batch)): [float(loss) for loss in losses]
            for rate, momentum, width, batch, *losses in rows
        }
