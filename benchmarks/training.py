"""Makes the table of learning curves anew: ``python -m benchmarks.training``, some half an hour.

Each model is a small neural network that scikit-learn trains on its own digits, one epoch after the other.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from benchmarks.curves import EPOCHS, MODELS, TABLE, Model

#: Of a model whose weights are not finite any more.
_DIVERGED = 100.0


def train(model: Model) -> Iterator[float]:
    """Trains one model and yields its validation loss after each epoch."""
    features, digits = load_digits(return_X_y=True)
    x, x_seen, y, y_seen = train_test_split(features / 16, digits, train_size=900, random_state=0)
    network = MLPClassifier(
        (model.width,),
        solver="sgd",
        learning_rate_init=model.rate,
        momentum=model.momentum,
        batch_size=model.batch,
        alpha=model.alpha,
        activation=model.activation,
        random_state=0,
    )
    for _ in range(EPOCHS):
        try:
            network.partial_fit(x, y, classes=range(10))
            yield float(log_loss(y_seen, network.predict_proba(x_seen), labels=range(10)))
        except ValueError:
            yield _DIVERGED


def main() -> None:
    # It warns of what diverges.
    warnings.simplefilter("ignore")
    with TABLE.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*Model._fields, *range(1, EPOCHS + 1)])
        for model in MODELS:
            table.writerow([*model, *(f"{loss:.4f}" for loss in train(model))])


if __name__ == "__main__":
    main()
