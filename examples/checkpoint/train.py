"""Walks down Rosenbrock's valley by gradient descent, and keeps its place in TUNED_POINT_DIR.

The directory belongs to the point, not to the trial: it is still there when the same parameters are
evaluated again after an abort, a crash or a retry, on this host.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

EPOCHS = 60
STEPS_PER_EPOCH = 200_000

#: The epoch that comes next, the place, and the speed.
State = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--momentum", type=float, required=True)
    arguments = parser.parse_args()

    checkpoint = Path(os.environ.get("TUNED_POINT_DIR", ".")) / "checkpoint.json"
    state = resume(checkpoint)
    while state["epoch"] < EPOCHS:
        state = train(state, arguments.rate, arguments.momentum)
        save(checkpoint, state)
        print(json.dumps({"step": state["epoch"], "value": height(state)}), flush=True)
    print(json.dumps({"value": height(state)}))


def resume(checkpoint: Path) -> State:
    """The state where an earlier evaluation of this point stopped, or the first one."""
    if not checkpoint.exists():
        return {"epoch": 0, "x": -1.2, "y": 1.0, "vx": 0.0, "vy": 0.0}
    state: State = json.loads(checkpoint.read_text())
    print(f"going on after epoch {state['epoch']}", file=sys.stderr)
    return state


def save(checkpoint: Path, state: State) -> None:
    """Writes a new file and renames it: a kill in between leaves the old checkpoint whole."""
    draft = checkpoint.with_suffix(".new")
    draft.write_text(json.dumps(state))
    draft.replace(checkpoint)


def train(state: State, rate: float, momentum: float) -> State:
    """One epoch."""
    x, y, vx, vy = state["x"], state["y"], state["vx"], state["vy"]
    for _ in range(STEPS_PER_EPOCH):
        vx = momentum * vx - rate * (-2 * (1 - x) - 400 * x * (y - x * x))
        vy = momentum * vy - rate * (200 * (y - x * x))
        x, y = x + vx, y + vy
    return {"epoch": state["epoch"] + 1, "x": x, "y": y, "vx": vx, "vy": vy}


def height(state: State) -> float:
    return (1 - state["x"]) ** 2 + 100 * (state["y"] - state["x"] ** 2) ** 2


if __name__ == "__main__":
    main()
