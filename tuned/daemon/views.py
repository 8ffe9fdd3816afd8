"""Shapes of the protocol, made of the objects of this host.

This room never asks anybody, and never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.config.toml import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tuned.daemon.gpu_pool import Gpus
    from tuned.daemon.trials.running import Running
    from tuned.experiment.resources import Resources
    from tuned.protocol.experiments import ExperimentSummary, ResourcesView
    from tuned.protocol.host import GpuView, RunView, SlotView
    from tuned.search.search import Search

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


def resources(resources: Resources) -> ResourcesView:
    return {
        "memory": resources.memory,
        "cpus": resources.cpus,
        "pids": resources.pids,
        "gpus": resources.gpus,
    }


def gpus(pool: Gpus) -> list[GpuView]:
    return [
        {"id": card, "used": float(used), "is_left": card in pool.left} for card, used in pool.used.items()
    ]


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


def resting(searches: Iterable[Search]) -> tuple[str, ...]:
    """On which experiments this host does not work, and why; of many some, because each beat says it."""
    found = [f"{each.name}: {each.why_idle}" for each in searches if each.why_idle]
    return tuple(shorten(reason, MOST_REASON_LETTERS) for reason in found[:MOST_REASONS])
