"""Fits a line by gradient descent, and prints its loss after each epoch. It knows nothing of tuned."""

from __future__ import annotations

import argparse
import random

EPOCHS = 40

#: Between two epochs of a real training minutes pass.
POINTS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--decay", type=float, required=True)
    given = parser.parse_args()

    source = random.Random(7)
    points = [(x, 3 * x - 1 + source.gauss(0, 0.1)) for x in (source.random() for _ in range(POINTS))]
    slope = offset = 0.0
    for epoch in range(EPOCHS):
        rate = given.rate * given.decay**epoch
        errors = [slope * x + offset - y for x, y in points]
        print(f"epoch {epoch} loss={sum(error * error for error in errors) / POINTS:.6f}", flush=True)
        slope -= rate * sum(error * x for error, (x, _) in zip(errors, points, strict=True)) / POINTS
        offset -= rate * sum(errors) / POINTS


if __name__ == "__main__":
    main()
