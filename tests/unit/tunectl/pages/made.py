"""Made for the tests of pages: a narrow and a wide canvas, a moment, and an experiment."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.small_host import a_count, a_summary, a_trial
from tuned.protocol.experiments import ExperimentView
from tuned.tunectl.text import Canvas

NOW = datetime(2025, 1, 31, 12, 46, tzinfo=UTC)


PLAIN = Canvas()


def text(lines: list[str]) -> str:
    return "\n".join(["", *lines, ""])


def an_experiment() -> ExperimentView:
    failed = a_trial(9, state="FAIL", failure={"cause": "exit", "message": "exit status 1"})
    return ExperimentView(
        summary=a_summary(),
        hosts=[
            {"host": "alpha", "counts": a_count(complete=30, reused=2, failed=3, running=2)},
            {"host": "beta", "counts": a_count(complete=10, skipped=1)},
            {"host": None, "counts": a_count(complete=3)},
        ],
        sampler={"name": "tpe", "seed": 42, "options": {}},
        definition={},
        parallel=None,
        resources=None,
        file=None,
        outputs=None,
        failures=[failed],
        running=[],
        revisions=[],
    )
