"""What tunectl prints of the fleet and of single trials, at most as wide as the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.tables import Canvas, Cell, Colour, Column, span
from tuned.tunectl_pages import STATE_COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.views import HostView


def hosts(canvas: Canvas, views: Sequence[HostView]) -> list[str]:
    if not views:
        return ["No hosts: none has joined this database yet."]
    columns = [Column("HOST", least=12), Column("STATE"), Column("SLOTS", is_right=True)]
    columns += [Column("RUNNING", is_right=True), Column("LAST BEAT", is_right=True)]
    return canvas.table([*columns, Column("TUNED"), Column("OPTUNA")], [_host_row(each) for each in views])


def _host_row(view: HostView) -> list[str | Cell]:
    return [
        view["name"],
        Cell(view["state"], STATE_COLOURS.get(view["state"], Colour.NONE)),
        str(view["slots"]),
        str(view["running"]),
        _beat_text(view),
        view["version"] or "–",
        view["optuna_version"] or "–",
    ]


def _beat_text(view: HostView) -> str:
    age = view["beat_age_seconds"]
    if age is None or view["state"] == "stopped":
        return "–"
    # The host that answers may have begun to look long after the last beat of a dead one.
    return f"over {span(age)} ago" if view["state"] == "dead" else f"{span(age)} ago"
