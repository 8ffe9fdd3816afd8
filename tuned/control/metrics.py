"""Metrics in Prometheus' text format: the format, and what a host's status says in numbers.

It counts nothing itself. Ended experiments have no samples, so that their number does not grow for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tuned.protocol import ExperimentSummary, Status


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


Sample: TypeAlias = "tuple[Mapping[str, str], float]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric with all its samples: labels and number."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: tuple[Sample, ...]


def render(metrics: Iterable[Metric]) -> str:
    return "".join(f"{line}\n" for metric in metrics for line in _lines(metric))


def of_status(status: Status) -> list[Metric]:
    return [*_of_host(status), *_of_experiments(status["experiments"])]


def _of_host(status: Status) -> Iterator[Metric]:
    info = {"host": status["host"], "version": status["version"], "isolation": status["isolation"]}
    yield _gauge("tuned_info", "What runs here; always 1.", (info, 1))
    yield _gauge("tuned_host_state", "1 for the state the host is in.", ({"state": status["state"]}, 1))
    yield _gauge("tuned_uptime_seconds", "Since the daemon started.", ({}, status["uptime_seconds"]))
    busy = sum(slot["running"] is not None for slot in status["slots"])
    yield _gauge("tuned_slots", "Evaluations that can run at once on this host.", ({}, len(status["slots"])))
    yield _gauge("tuned_slots_busy", "Evaluations that run on this host.", ({}, busy))
    database = status["database"]
    yield _gauge("tuned_database_reachable", "1 if the database answers.", ({}, database["reachable"]))
    waiting = database["pending_results"]
    yield _gauge("tuned_outbox_results", "Results on disk that the database does not have.", ({}, waiting))


def _of_experiments(experiments: Iterable[ExperimentSummary]) -> Iterator[Metric]:
    named = [({"experiment": each["name"]}, each) for each in experiments]
    counts = ((dict(each["counts"]), label) for label, each in named)
    trials = (({**label, "state": state}, count) for of, label in counts for state, count in _numbers(of))
    yield _gauge("tuned_trials", "Trials of the fleet, each counted in one state.", *trials)
    evaluations = ((label, each["evaluations"]) for label, each in named)
    yield _gauge("tuned_evaluations", "What the evaluations' budget was charged with.", *evaluations)
    visited = ((label, each["visited"]) for label, each in named)
    yield _gauge("tuned_points_visited", "Points that are done or failed.", *visited)
    sizes = ((label, each["space_size"]) for label, each in named)
    known = ((label, size) for label, size in sizes if size is not None)
    yield _gauge("tuned_points", "Points of the space, where it is finite.", *known)
    open_ones = ((label, each["state"] == "open") for label, each in named)
    yield _gauge("tuned_experiment_open", "1 if new trials may start, 0 if paused.", *open_ones)
    best = (
        ({**label, "objective": str(index)}, value)
        for label, each in named
        if each["best"]
        for index, value in enumerate(each["best"]["values"])
    )
    yield _gauge("tuned_best_value", "Of the best trial, or the first of the front.", *best)


def _numbers(counts: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    return ((state, count) for state, count in counts.items() if isinstance(count, int))


def _gauge(name: str, text: str, *samples: Sample) -> Metric:
    return Metric(name=name, kind="gauge", help=text, samples=samples)


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, number in metric.samples:
        text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        yield f"{metric.name}{{{text}}} {_number(number)}" if text else f"{metric.name} {_number(number)}"


def _number(number: float) -> str:
    # Prometheus reads inf and nan as Python writes them, but not True.
    return repr(int(number)) if isinstance(number, int) else repr(float(number))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
