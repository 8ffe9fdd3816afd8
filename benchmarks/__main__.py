"""Measures the subjects that it is given: ``python -m benchmarks [--quick] [SUBJECT...]``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from benchmarks import (
    central,
    duplicates,
    fleet,
    growth,
    keeper,
    many,
    pruning,
    quality,
    slots,
    small,
    spawn,
    stop,
    warm,
    wide,
)
from benchmarks.ground import Ground, ground
from benchmarks.report import Report

RESULTS = Path("build", "bench.json")

Measure = Callable[[Ground, Report], None]

SUBJECTS: dict[str, Measure] = {
    "central": central.measure,
    "growth": growth.measure,
    "slots": slots.measure,
    "wide": wide.measure,
    "many": many.measure,
    "quality": quality.measure,
    "pruning": pruning.measure,
    "spawn": spawn.measure,
    "warm": warm.measure,
    "stop": stop.measure,
    "small": small.measure,
    "keeper": keeper.measure,
    "duplicates": duplicates.measure,
    "fleet": fleet.measure,
}

#: Subjects whose figures are the same on every machine.
QUICK: dict[str, Measure] = {"central": central.count, "duplicates": duplicates.count}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only counts, in under a minute")
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; default: all"
    )
    options = parser.parse_args()
    subjects = QUICK if options.quick else SUBJECTS
    if unknown := set(options.subjects) - set(subjects):
        parser.error(f"found {', '.join(sorted(unknown))}, expected some of {', '.join(subjects)}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A terminated run removes its server and its files.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(show=lambda text: print(text, flush=True))
    with ground() as here:
        for name in options.subjects or subjects:
            began = time.monotonic()
            subjects[name](here, report)
            print(f"  [{name}: {time.monotonic() - began:.0f} s]", flush=True)
    report.write(RESULTS)
    print(f"\nas JSON: {RESULTS}")
    return 1 if report.has_failed else 0


if __name__ == "__main__":
    sys.exit(main())
