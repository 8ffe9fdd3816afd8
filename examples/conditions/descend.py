"""Goes down Rosenbrock's valley with one of three optimizers, and prints how high it still is."""

from __future__ import annotations

import argparse
import json

STEPS = 2000

#: Kept away from zero in Adam's division.
TINY = 1e-8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimizer", choices=["plain", "momentum", "adam"], required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--momentum", type=float)
    parser.add_argument("--nesterov", choices=["true", "false"])
    parser.add_argument("--beta", type=float)
    given = parser.parse_args()

    place = [-1.2, 1.0]
    if given.optimizer == "adam":
        adam(place, given.rate, given.beta)
    else:
        descend(place, given.rate, given.momentum or 0.0, looks_ahead=given.nesterov == "true")
    print(json.dumps({"value": height(*place)}))


def height(x: float, y: float) -> float:
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def slope(x: float, y: float) -> tuple[float, float]:
    return -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)


def descend(place: list[float], rate: float, momentum: float, *, looks_ahead: bool) -> None:
    speed = [0.0, 0.0]
    for _ in range(STEPS):
        ahead = momentum if looks_ahead else 0.0
        found = slope(*(at + ahead * fast for at, fast in zip(place, speed, strict=True)))
        for axis in range(2):
            speed[axis] = momentum * speed[axis] - rate * found[axis]
            place[axis] += speed[axis]


def adam(place: list[float], rate: float, beta: float) -> None:
    mean, square = [0.0, 0.0], [0.0, 0.0]
    for step in range(1, STEPS + 1):
        for axis, found in enumerate(slope(*place)):
            mean[axis] += (1 - beta) * (found - mean[axis])
            square[axis] += (1 - 0.999) * (found * found - square[axis])
            straight = mean[axis] / (1 - beta**step)
            scale = (square[axis] / (1 - 0.999**step)) ** 0.5
            place[axis] -= rate * straight / (scale + TINY)


if __name__ == "__main__":
    main()
