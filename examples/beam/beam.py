"""A steel beam that is held at one end and carries a load at the other.

Its mass and its deflection are to be small, and its stress must stay below what the steel endures.
"""

from __future__ import annotations

import argparse
import json

LENGTH = 1.0  # m
LOAD = 2_000.0  # N
DENSITY = 7_850.0  # kg/m³
STIFFNESS = 210e9  # Pa
LARGEST_STRESS = 120.0  # MPa


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    arguments = parser.parse_args()
    width, height = arguments.width / 1000, arguments.height / 1000

    mass = DENSITY * width * height * LENGTH
    deflection = 4 * LOAD * LENGTH**3 / (STIFFNESS * width * height**3) * 1000
    stress = 6 * LOAD * LENGTH / (width * height**2) / 1e6
    # Feasible at 0 or below.
    print(json.dumps({"values": [mass, deflection], "constraints": {"stress": stress - LARGEST_STRESS}}))


if __name__ == "__main__":
    main()
