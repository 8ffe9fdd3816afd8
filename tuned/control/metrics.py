"""One host in numbers, in Prometheus' text format.

A metric that begins with ``tuned_fleet_`` tells of the fleet, and every host has it; the others are this
host's own. Ended experiments have no samples, so that the number of samples does not grow with the age of
the database. It touches no registry but its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuned.domain.ending import Cause, EndState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tuned.disk.checkup import Space
    from tuned.domain.ending import Ending
    from tuned.protocol.experiments import ExperimentSummary
    from tuned.protocol.host import Status

    #: Labels and a value.
    _Sample = tuple[Mapping[str, str], float]


CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

#: From a script that fails at once to a training of weeks.
BUCKETS_SECONDS = (
    1, 10, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY,
    21 * _DAY,
)  # fmt: skip

#: The label of each state in which an evaluation ends.
_STATES = {EndState.COMPLETE: "complete", EndState.PRUNED: "pruned", EndState.FAIL: "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A host of the fleet, as this one sees its beats."""

    name: str
    is_alive: bool
    #: How long its counter has stood still.
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Facts of this host that its status does not have."""

    #: Of this host's experiments by name, as words of SearchState.
    experiment_states: Mapping[str, str]
    #: None if the disk does not say.
    space: Space | None
    #: Those that neither drained nor were stopped.
    peers: Iterable[Peer] = ()


class Endings:
    """Counts the evaluations that ended on this host since its daemon started."""

    def __init__(self) -> None:
        # When a counter was made says no more than tuned_uptime_seconds.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._ended = Counter(
            "tuned_trials_ended", "Trials that ended on this host after an evaluation.", ("state", "cause"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "tuned_trial_seconds", "How long the evaluations took that ended on this host.", ("state",),
            registry=self.registry, buckets=BUCKETS_SECONDS,
        )  # fmt: skip
        # A rate needs a value before the first one.
        for cause in Cause:
            if cause not in {Cause.LOST, Cause.HOST}:
                self._ended.labels(_STATES[EndState.FAIL], cause)
        for state in EndState:
            self._seconds.labels(_STATES[state])
            if state is not EndState.FAIL:
                self._ended.labels(_STATES[state], "")

    def count(self, ending: Ending, seconds: float) -> None:
        self._count(ending.state, None if ending.failure is None else ending.failure.cause, seconds)

    def count_aborted(self, seconds: float) -> None:
        self._count(EndState.FAIL, Cause.ABORTED, seconds)

    def _count(self, state: EndState, cause: Cause | None, seconds: float) -> None:
        self._ended.labels(_STATES[state], "" if cause is None else cause.value).inc()
        self._seconds.labels(_STATES[state]).observe(seconds)


def render(status: Status, local: Local, endings: Endings) -> bytes:
    registry = CollectorRegistry()
    registry.register(_StatusCollector(status, local))
    return generate_latest(registry) + generate_latest(endings.registry)


class _StatusCollector(Collector):
    """Shows the registry one status, taken before: a registry cannot wait for one."""

    def __init__(self, status: Status, local: Local) -> None:
        self._status = status
        self._local = local

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from _of_host(self._status, self._local.space)
        yield _state_of_experiments(self._local.experiment_states)
        yield from _of_experiments(self._status["experiments"])
        yield from _of_peers(list(self._local.peers))


def _of_host(status: Status, space: Space | None) -> Iterator[GaugeMetricFamily]:
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
    known = [] if space is None else [space]
    free: list[_Sample] = [({}, each.free_bytes) for each in known]
    yield _gauge("tuned_state_free_bytes", "Free on the disk of the state directory.", *free)
    size: list[_Sample] = [({}, each.size_bytes) for each in known]
    yield _gauge("tuned_state_size_bytes", "Size of the disk of the state directory.", *size)


def _state_of_experiments(states: Mapping[str, str]) -> GaugeMetricFamily:
    each = (({"experiment": name, "state": state}, 1) for name, state in states.items())
    return _gauge("tuned_experiment_state", "1 for what this host does about the experiment.", *each)


def _of_experiments(experiments: Iterable[ExperimentSummary]) -> Iterator[GaugeMetricFamily]:
    named = [({"experiment": each["name"]}, each) for each in experiments]
    counts = ((dict(each["counts"]), label) for label, each in named)
    trials = (({**label, "state": state}, count) for of, label in counts for state, count in _numbers(of))
    yield _gauge("tuned_fleet_trials", "Trials of the fleet, each counted in one state.", *trials)
    evaluations = ((label, each["evaluations"]) for label, each in named)
    yield _gauge("tuned_fleet_evaluations", "What the evaluations' budget was charged with.", *evaluations)
    visited = ((label, each["visited"]) for label, each in named)
    yield _gauge("tuned_fleet_points_visited", "Points that are done or failed.", *visited)
    sizes = ((label, each["space_size"]) for label, each in named)
    known = ((label, size) for label, size in sizes if size is not None)
    yield _gauge("tuned_fleet_points", "Points of the space, where it is finite.", *known)
    open_ones = ((label, each["state"] == "open") for label, each in named)
    yield _gauge("tuned_fleet_experiment_open", "1 if new trials may start, 0 if paused.", *open_ones)
    best = (
        ({**label, "objective": str(index)}, value)
        for label, each in named
        if each["best"]
        for index, value in enumerate(each["best"]["values"])
    )
    yield _gauge("tuned_fleet_best_value", "Of the best trial, or the first of the front.", *best)


def _of_peers(peers: Iterable[Peer]) -> Iterator[GaugeMetricFamily]:
    alive = (({"host": peer.name}, peer.is_alive) for peer in peers)
    yield _gauge(
        "tuned_fleet_host_alive", "0 if the host died and neither came back nor was forgotten.", *alive
    )
    ages = (({"host": peer.name}, peer.age_seconds) for peer in peers)
    yield _gauge("tuned_fleet_host_beat_age_seconds", "Since the host's last beat was seen.", *ages)


def _numbers(counts: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    return ((state, count) for state, count in counts.items() if isinstance(count, int))


def _gauge(name: str, text: str, *samples: _Sample) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    for labels, number in samples:
        family.add_sample(name, dict(labels), number)
    return family
