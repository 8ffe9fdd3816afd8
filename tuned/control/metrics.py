"""The host's status in numbers, in Prometheus' text format.

It counts nothing itself, and touches no registry but its own. Ended experiments have no samples, so that
the number of samples does not grow with the age of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tuned.protocol.experiments import ExperimentSummary
    from tuned.protocol.host import Status


CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def render(status: Status) -> bytes:
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status))
    return generate_latest(registry)


class _StatusCollector(Collector):
    """Shows the registry one status, taken before: a registry cannot wait for one."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from _of_host(self._status)
        yield from _of_experiments(self._status["experiments"])


def _of_host(status: Status) -> Iterator[GaugeMetricFamily]:
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


def _of_experiments(experiments: Iterable[ExperimentSummary]) -> Iterator[GaugeMetricFamily]:
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


def _gauge(name: str, text: str, *samples: tuple[Mapping[str, str], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    for labels, number in samples:
        family.add_sample(name, dict(labels), number)
    return family
