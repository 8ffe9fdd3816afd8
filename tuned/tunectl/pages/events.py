"""One event as one line, at most as wide as the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.domain.counts import counted
from tuned.domain.resources import rounded_size
from tuned.tunectl.pages.disk import removed_text
from tuned.tunectl.pages.words import failure_text, params_text, report_text, time_of_day, values_text
from tuned.tunectl.text import Canvas, cut, printable

if TYPE_CHECKING:
    from tuned.protocol.events import Event


def event(canvas: Canvas, view: Event) -> str:
    parts = [time_of_day(view["time"]), f"{view['event']:<19}"]
    if "experiment" in view:
        parts.append(printable(view["experiment"]))
    if "trial" in view:
        parts.append(f"trial {view['trial']}")
    if "slot" in view:
        parts.append(f"slot {view['slot']}")
    parts += [printable(text) for text in _event_texts(view)]
    return cut(" ".join(parts), canvas.width)


def _event_texts(view: Event) -> list[str]:
    file, message = view.get("file", ""), view.get("message", "")
    # Most messages begin with their file.
    names = ("" if message.startswith(file) else file, view.get("note"), view.get("ended_by"), message)
    texts = [text for text in (view.get("state"), *names) if text]
    if values := view.get("values"):
        texts.append(f"value {values_text(values)}")
    if report := view.get("report"):
        texts.append(report_text(report))
    if failure := view.get("failure"):
        texts.append(failure_text(failure))
    if twin := view.get("duplicate_of"):
        texts.append(f"as {twin['number']}" + (f" on {twin['host']}" if twin["host"] else ""))
    if params := view.get("params"):
        texts.append(params_text(params))
    if removed := view.get("removed"):
        texts.append(f"{removed_text(removed)}, {rounded_size(removed['size_bytes'])}")
    if "count" in view:
        texts.append(f"{counted(view['count'], 'event')}: read too slowly")
    return texts
