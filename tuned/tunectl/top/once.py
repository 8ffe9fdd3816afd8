"""One frame as lines that can be read aloud: sentences instead of columns, and no bars.

Every line says what it is about, so that it needs no line above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.domain.counts import counted
from tuned.tunectl.pages.experiments import counts_text, notes, progress, seconds_left, state_word
from tuned.tunectl.pages.host import NOTHING_OPEN, headline
from tuned.tunectl.pages.words import report_text, values_text
from tuned.tunectl.text import UNBOUNDED, Canvas, number, printable, span
from tuned.tunectl.top.outputs import uncoloured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tuned.protocol.experiments import ExperimentSummary
    from tuned.protocol.fleet import HostView
    from tuned.protocol.host import RunView, SlotView
    from tuned.tunectl.top.overview import Overview

_PLAIN = Canvas(width=UNBOUNDED)


def frame(picture: Overview, now: datetime) -> list[str]:
    """Printable lines."""
    status = picture.status
    lines = [f"Host: {headline(_PLAIN, status).removeprefix('● ')}"]
    lines += [f"Warning: {each}" for each in picture.troubles()]
    if not status["experiments"]:
        lines.append(NOTHING_OPEN)
    for each in status["experiments"]:
        lines += _experiment(picture, each, now)
    lines += [_slot(each) for each in status["slots"]]
    lines += [_host(each) for each in picture.hosts or ()]
    return [printable(line) for line in lines]


def _experiment(picture: Overview, view: ExperimentSummary, now: datetime) -> Iterator[str]:
    name = view["name"]
    done, total, unit = progress(view)
    parts = [state_word(view)]
    parts.append(f"{done} of {counted(total, unit)}" if total else counted(done, unit))
    parts.append(counts_text(view["counts"]))
    if best := view["best"]:
        parts.append(f"best {values_text(best['values'])} in trial {best['number']}")
    left = seconds_left(view, now)
    parts += [] if left is None else [f"about {span(left)} left"]
    yield f"Experiment {name}: {', '.join(parts)}"
    if course := picture.courses.get(name):
        first, last = course[0], course[-1]
        yield (
            f"Experiment {name}: the best went from {number(first['value'])} in trial {first['number']}"
            f" to {number(last['value'])} in trial {last['number']}"
        )
    for note in notes(view):
        yield f"Experiment {name}: {note.text}"


def _slot(slot: SlotView) -> str:
    run = slot["running"]
    return f"Slot {slot['slot']}: {'idle' if run is None else ', '.join(_run(run))}"


def _run(run: RunView) -> Iterator[str]:
    yield f"trial {run['trial']} of {run['experiment']}"
    if run["replicates"] > 1:
        yield f"replicate {run['replicate']} of {run['replicates']}"
    yield f"for {span(run['seconds'])}"
    if run["report"]:
        yield report_text(run["report"])
    if line := uncoloured(run.get("last_line", "")):
        yield f"printed: {line}"


def _host(view: HostView) -> str:
    running = counted(view["running"], "trial")
    age = view["beat_age_seconds"]
    over = "over " if view["state"] == "dead" else ""
    beat = "" if age is None else f", last beat {over}{span(age)} ago"
    return f"Host {view['name']}: {view['state']}, {running} on {counted(view['slots'], 'slot')}{beat}"
