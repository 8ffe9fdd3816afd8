"""A host's status as Prometheus reads it."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from tests.small_host import a_local, a_status, a_summary
from tuned.control import metrics
from tuned.control.metrics import Endings, Local
from tuned.domain.ending import Cause, Ending, Failure
from tuned.protocol.host import Status

GAUGES = {
    "tuned_info": "What runs here; always 1.",
    "tuned_host_state": "1 for the state the host is in.",
    "tuned_uptime_seconds": "Since the daemon started.",
    "tuned_slots": "Evaluations that can run at once on this host.",
    "tuned_slots_busy": "Evaluations that run on this host.",
    "tuned_database_reachable": "1 if the database answers.",
    "tuned_outbox_results": "Results on disk that the database does not have.",
    "tuned_state_free_bytes": "Free on the disk of the state directory.",
    "tuned_state_size_bytes": "Size of the disk of the state directory.",
    "tuned_experiment_state": "1 for what this host does about the experiment.",
    "tuned_fleet_trials": "Trials of the fleet, each counted in one state.",
    "tuned_fleet_evaluations": "What the evaluations' budget was charged with.",
    "tuned_fleet_points_visited": "Points that are done or failed.",
    "tuned_fleet_points": "Points of the space, where it is finite.",
    "tuned_fleet_experiment_open": "1 if new trials may start, 0 if paused.",
    "tuned_fleet_best_value": "Of the best trial, or the first of the front.",
    "tuned_fleet_host_alive": "0 if the host died and neither came back nor was forgotten.",
    "tuned_fleet_host_beat_age_seconds": "Since the host's last beat was seen.",
}

#: The parser leaves out the end ``_total``.
OTHERS = {
    "tuned_trials_ended": "Trials that ended on this host after an evaluation.",
    "tuned_trial_seconds": "How long the evaluations took that ended on this host.",
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def rendered(status: Status, local: Local | None = None, endings: Endings | None = None) -> str:
    return metrics.render(status, local or a_local(), endings or Endings()).decode()


def samples(status: Status, endings: Endings | None = None) -> Samples:
    families = text_string_to_metric_families(rendered(status, endings=endings))
    return {(each.name, frozenset(each.labels.items())): each.value for f in families for each in f.samples}


def labels(**named: str) -> frozenset[tuple[str, str]]:
    return frozenset(named.items())


def test_names_types_and_help_are_a_promise() -> None:
    families = list(text_string_to_metric_families(rendered(a_status())))
    assert {each.name: each.documentation for each in families} == GAUGES | OTHERS
    assert {each.name for each in families if each.type == "gauge"} == GAUGES.keys()
    assert metrics.CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_a_status_is_told_in_numbers() -> None:
    found = samples(a_status())
    assert found["tuned_info", labels(host="alpha", version="0.1.0", isolation="cgroup")] == 1
    assert found["tuned_host_state", labels(state="running")] == 1
    assert found["tuned_uptime_seconds", labels()] == 7384
    assert (found["tuned_slots", labels()], found["tuned_slots_busy", labels()]) == (2, 1)
    assert found["tuned_database_reachable", labels()] == 1
    assert found["tuned_fleet_trials", labels(experiment="minima", state="complete")] == 40
    assert found["tuned_fleet_points", labels(experiment="minima")] == 1024
    assert found["tuned_fleet_best_value", labels(experiment="minima", objective="0")] == 0.9731


def test_an_infinite_space_has_no_number_and_no_value_no_sample() -> None:
    found = samples(a_status(experiments=[a_summary(space_size=None, best=None)]))
    assert not {name for name, _ in found} & {"tuned_fleet_points", "tuned_fleet_best_value"}


def test_infinite_values_and_odd_names_are_text_that_prometheus_reads() -> None:
    best = {"number": 1, "values": [math.inf], "params": {}, "host": None}
    found = samples(a_status(host='a"\\\n', experiments=[a_summary(best=best)]))
    assert found["tuned_fleet_best_value", labels(experiment="minima", objective="0")] == math.inf
    assert found["tuned_info", labels(host='a"\\\n', version="0.1.0", isolation="cgroup")] == 1


def test_nothing_of_the_process_or_of_another_status_is_told() -> None:
    rendered(a_status(experiments=[a_summary("other")]))
    assert {name for name, _ in samples(a_status(experiments=[]))} - GAUGES.keys() == {
        "tuned_trials_ended_total",
        "tuned_trial_seconds_bucket",
        "tuned_trial_seconds_count",
        "tuned_trial_seconds_sum",
    }
    assert "other" not in rendered(a_status())


def test_trials_that_ended_are_counted_by_cause_and_their_times_fall_into_buckets() -> None:
    endings = Endings()
    endings.count(Ending(values=(0.5,)), seconds=7.0)
    endings.count(Ending(failure=Failure(cause=Cause.OOM, message="")), seconds=7200.0)
    endings.count_aborted(seconds=86400.0 * 40)
    found = samples(a_status(), endings)
    assert found["tuned_trials_ended_total", labels(state="complete", cause="")] == 1
    assert found["tuned_trials_ended_total", labels(state="failed", cause="oom")] == 1
    assert found["tuned_trials_ended_total", labels(state="failed", cause="aborted")] == 1
    # A rate sees the first failure of a kind, because its counter was there before.
    assert found["tuned_trials_ended_total", labels(state="failed", cause="exit")] == 0
    assert found["tuned_trial_seconds_bucket", labels(state="complete", le="10.0")] == 1
    assert found["tuned_trial_seconds_bucket", labels(state="failed", le="3600.0")] == 0
    assert found["tuned_trial_seconds_bucket", labels(state="failed", le="14400.0")] == 1
    assert found["tuned_trial_seconds_count", labels(state="failed")] == 2


def test_what_this_host_knows_of_its_experiments_its_disk_and_its_peers_is_told() -> None:
    found = samples(a_status())
    assert found["tuned_experiment_state", labels(experiment="minima", state="working")] == 1
    assert found["tuned_state_free_bytes", labels()] == 2**30
    assert found["tuned_state_size_bytes", labels()] == 2**40
    assert found["tuned_fleet_host_alive", labels(host="gamma")] == 0
    assert found["tuned_fleet_host_beat_age_seconds", labels(host="beta")] == 3
    unknown = rendered(a_status(), Local(experiment_states={}, space=None))
    assert [line for line in unknown.splitlines() if line.startswith("tuned_state_")] == []
