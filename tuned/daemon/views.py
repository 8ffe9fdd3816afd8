"""Shapes of the protocol, made of the objects of this host.

This room never asks anybody, and never waits.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tuned.config.toml import shorten
from tuned.domain.states import HostState, SearchState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tuned.daemon.trials.running import Running
    from tuned.experiment.resources import Resources
    from tuned.protocol.experiments import ExperimentSummary, ResourcesView
    from tuned.protocol.fields import HostStateName, OffView
    from tuned.protocol.fleet import HostView
    from tuned.protocol.host import RunView, SlotView
    from tuned.search.search import Search
    from tuned.storage.hosts import HostInfo, HostRow

MOST_REASONS = 10

MOST_REASON_LETTERS = 200


def uncounted(search: Search) -> ExperimentSummary:
    """An experiment as this host knows it without the database."""
    status = search.status
    return {
        "name": search.status.name,
        "state": status.state.value,
        "note": "",
        "ended_by": status.ended_by,
        "origin": "",
        "is_paused_here": False,
        "priority": search.experiment.fleet.priority,
        "directions": [
            "maximize" if each == "maximize" else "minimize" for each in search.experiment.directions
        ],
        "running": 0,
        "counts": {
            "complete": 0, "reused": 0, "failed": 0, "skipped": 0, "pruned": 0, "running": 0, "waiting": 0,
        },
        "trials": status.trials,
        "trials_limit": status.trials_limit,
        "evaluations": status.evaluations,
        "evaluations_limit": status.evaluations_limit,
        "seconds_left": status.seconds_left,
        "target": None,
        "stalled": 0,
        "stalled_limit": None,
        "space_size": status.size,
        "visited": status.visited,
        "started": None,
        "best": None,
        "nearest": None,
    }  # fmt: skip


def host_state(row: HostRow) -> HostStateName:
    """The state that the host wrote last; a dead host shows as dead unless it wrote that it stopped."""
    last = row.info.state
    return "dead" if row.dead and last is not HostState.STOPPED else last.value


def resources(resources: Resources) -> ResourcesView:
    return {
        "memory": resources.memory,
        "cpus": resources.cpus,
        "pids": resources.pids,
        "gpus": resources.gpus,
    }


def slot(number: int, running: Running | None, last_line: str | None) -> SlotView:
    """The last line is None if nobody asked for it."""
    if running is None:
        return {"slot": number, "running": None}
    newest = running.evaluation.curve.newest
    run: RunView = {
        "experiment": running.search.name,
        "trial": running.claimed.number,
        "replicate": running.evaluation.replicate,
        "replicates": running.evaluation.experiment.replicates.count,
        "attempt": running.evaluation.attempt,
        "seconds": running.seconds,
        "report": None if newest is None else {"step": newest[0], "value": newest[1]},
        "gpus": list(running.evaluation.cards),
        "is_adopted": running.is_adopted,
    }
    if last_line is not None:
        run["last_line"] = last_line
    return {"slot": number, "running": run}


def _off(info: HostInfo) -> OffView | None:
    try:
        for each in (info.off_since, info.off_until):
            datetime.fromisoformat(each)
    except ValueError:
        # It works, or another version or a person wrote it otherwise.
        return None
    return {"since": info.off_since, "until": info.off_until}


def resting(searches: Iterable[Search]) -> tuple[str, ...]:
    """On which experiments this host does not work, and why; of many some, because each beat says it."""
    idle = (SearchState.RESTING, SearchState.PAUSED)
    found = [f"{each.name}: {each.reason}" for each in searches if each.state in idle and each.reason]
    return tuple(shorten(reason, MOST_REASON_LETTERS) for reason in found[:MOST_REASONS])


def host(row: HostRow, running: int, beat_age_seconds: float | None) -> HostView:
    """A host of the fleet, with the number of its trials and the age of its last beat."""
    return {
        "name": row.name,
        "state": host_state(row),
        "slots": row.info.slots,
        "gpus": row.info.gpus,
        "labels": list(row.info.labels),
        "off": _off(row.info),
        "resting": list(row.info.resting),
        "running": running,
        "beat_age_seconds": beat_age_seconds,
        "version": row.info.version,
        "optuna_version": row.info.optuna_version,
        "unreadable": row.unreadable,
    }
