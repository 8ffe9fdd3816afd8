"""A host of the fleet as people and programs see it, made of its row."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tuned.domain.states import HostState

if TYPE_CHECKING:
    from tuned.protocol.fields import HostStateName, OffView
    from tuned.protocol.fleet import HostView
    from tuned.storage.hosts import HostInfo, HostRow


def host_state(row: HostRow) -> HostStateName:
    """The state that the host wrote last; a dead host shows as dead unless it wrote that it stopped."""
    last = row.info.state
    return "dead" if row.dead and last is not HostState.STOPPED else last.value


def host_view(row: HostRow, running: int, beat_age_seconds: float | None) -> HostView:
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


def _off(info: HostInfo) -> OffView | None:
    try:
        for each in (info.off_since, info.off_until):
            datetime.fromisoformat(each)
    except ValueError:
        # It works, or another version or a person wrote it otherwise.
        return None
    return {"since": info.off_since, "until": info.off_until}
