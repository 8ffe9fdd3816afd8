"""A host's status as Prometheus reads it."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from tests.small_host import a_status, a_summary
from tuned.control import metrics
from tuned.protocol.host import Status

HELP = {
    "tuned_info": "What runs here; always 1.",
    "tuned_host_state": "1 for the state the host is in.",
    "tuned_uptime_seconds": "Since the daemon started.",
    "tuned_slots": "Evaluations that can run at once on this host.",
    "tuned_slots_busy": "Evaluations that run on this host.",
    "tuned_database_reachable": "1 if the database answers.",
    "tuned_outbox_results": "Results on disk that the database does not have.",
    "tuned_trials": "Trials of the fleet, each counted in one state.",
    "tuned_evaluations": "What the evaluations' budget was charged with.",
    "tuned_points_visited": "Points that are done or failed.",
    "tuned_points": "Points of the space, where it is finite.",
    "tuned_experiment_open": "1 if new trials may start, 0 if paused.",
    "tuned_best_value": "Of the best trial, or the first of the front.",
}


def samples(status: Status) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render(status).decode())
    return {(each.name, frozenset(each.labels.items())): each.value for f in families for each in f.samples}


def labels(**named: str) -> frozenset[tuple[str, str]]:
    return frozenset(named.items())


def test_names_types_and_help_are_a_promise() -> None:
    families = list(text_string_to_metric_families(metrics.render(a_status()).decode()))
    assert {each.name: each.documentation for each in families} == HELP
    assert {each.type for each in families} == {"gauge"}
    assert metrics.CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_a_status_is_told_in_numbers() -> None:
    found = samples(a_status())
    assert found["tuned_info", labels(host="alpha", version="0.1.0", isolation="cgroup")] == 1
    assert found["tuned_host_state", labels(state="running")] == 1
    assert found["tuned_uptime_seconds", labels()] == 7384
    assert (found["tuned_slots", labels()], found["tuned_slots_busy", labels()]) == (2, 1)
    assert found["tuned_database_reachable", labels()] == 1
    assert found["tuned_trials", labels(experiment="minima", state="complete")] == 40
    assert found["tuned_points", labels(experiment="minima")] == 1024
    assert found["tuned_best_value", labels(experiment="minima", objective="0")] == 0.9731


def test_an_infinite_space_has_no_number_and_no_value_no_sample() -> None:
    found = samples(a_status(experiments=[a_summary(space_size=None, best=None)]))
    assert not {name for name, _ in found} & {"tuned_points", "tuned_best_value"}


def test_infinite_values_and_odd_names_are_text_that_prometheus_reads() -> None:
    best = {"number": 1, "values": [math.inf], "params": {}, "host": None}
    found = samples(a_status(host='a"\\\n', experiments=[a_summary(best=best)]))
    assert found["tuned_best_value", labels(experiment="minima", objective="0")] == math.inf
    assert found["tuned_info", labels(host='a"\\\n', version="0.1.0", isolation="cgroup")] == 1


def test_nothing_of_the_process_or_of_another_status_is_told() -> None:
    metrics.render(a_status(experiments=[a_summary("other")]))
    assert {name for name, _ in samples(a_status(experiments=[]))} <= HELP.keys()
    assert "other" not in metrics.render(a_status()).decode()
