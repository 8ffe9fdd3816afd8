"""Minimizes a quadratic function by gradient descent with momentum; the last line is how far it still is."""

from __future__ import annotations

import argparse

#: How steep the function is along each axis.
STEEPNESS = (1.0, 10.0)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--momentum", type=float, required=True)
parser.add_argument("--steps", type=int, default=50)
options = parser.parse_args()

place = [1.0 for _ in STEEPNESS]
speed = [0.0 for _ in STEEPNESS]
for _ in range(options.steps):
    for axis, steepness in enumerate(STEEPNESS):
        speed[axis] = options.momentum * speed[axis] - options.rate * steepness * place[axis]
        # A rate that is too high lets it run away, and a value must be finite.
        place[axis] = max(-1e6, min(1e6, place[axis] + speed[axis]))
print(sum(steepness * each * each for steepness, each in zip(STEEPNESS, place, strict=True)) / 2)
