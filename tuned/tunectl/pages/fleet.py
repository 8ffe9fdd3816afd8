"""The fleet as lines for people: its hosts, the changes that concern all of it, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.domain.counts import counted
from tuned.tunectl.pages.words import STATE_COLOURS, budget_text, is_used_up, off_text
from tuned.tunectl.text import Canvas, Cell, Colour, Column, printable, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.experiments import (
        AmendedView,
        DeletedView,
        ExperimentSummary,
        ReplacedView,
        RetryView,
    )
    from tuned.protocol.fleet import FixedView, HostView


def hosts(canvas: Canvas, views: Sequence[HostView]) -> list[str]:
    if not views:
        return ["No hosts: none has joined this database yet."]
    columns = [Column("HOST", least=8), Column("STATE"), Column("SLOTS", is_right=True)]
    columns += [Column("GPUS", is_right=True)]
    has_labels = any(each["labels"] for each in views)
    columns += [Column("RUNNING", is_right=True), Column("LAST BEAT", is_right=True)]
    columns += [Column("TUNED"), Column("OPTUNA"), *([Column("LABELS", least=8)] if has_labels else [])]
    rows = [[*_host_row(each), *([", ".join(each["labels"])] if has_labels else [])] for each in views]
    lines = canvas.table(columns, rows)
    for each in views:
        if each["off"]:
            off = f"{printable(each['name'])} starts nothing {off_text(each['off'])}"
            lines.append(canvas.paint(off, Colour.YELLOW))
        if each["state"] in {"running", "starting"}:
            lines += [f"{printable(each['name'])} rests, {printable(reason)}" for reason in each["resting"]]
        if each["unreadable"]:
            odd = f"cannot read in the row of {printable(each['name'])}: {printable(each['unreadable'])}"
            lines.append(canvas.paint(odd, Colour.YELLOW))
    return lines


def _host_row(view: HostView) -> list[str | Cell]:
    return [
        view["name"],
        Cell(view["state"], STATE_COLOURS.get(view["state"], Colour.NONE)),
        str(view["slots"]),
        str(view["gpus"]),
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


def retried(view: RetryView) -> list[str]:
    freed, name = view["freed"], printable(view["experiment"]["name"])
    if not freed:
        return [f"no point of {name} is to be retried"]
    return [
        f"{counted(freed, 'failed point')} of {name} free again; it is {view['experiment']['state']}",
        *_hints(view),
    ]


def replaced(view: ReplacedView) -> list[str]:
    summary = view["experiment"]
    name, state = printable(summary["name"]), summary["state"]
    changes = [f"  {printable(each)}" for each in view["changes"]] or ["  nothing differs from the file"]
    lines = [f"{name} is {state}; its budget: {budget_text(summary)}", *changes]
    return [*lines, f"to go on: tunectl resume {name}"] if state == "paused" else [*lines, *_full(view)]


def over(summary: ExperimentSummary) -> str:
    """The answer to a file whose experiment is done."""
    name, size = printable(summary["name"]), summary["space_size"]
    is_exhausted = size is not None and summary["visited"] >= size
    spent = (
        f"{size} of {counted(size, 'point')}" if size is not None and is_exhausted else budget_text(summary)
    )
    if summary["ended_by"] and not is_exhausted and not is_used_up(summary):
        spent = printable(summary["ended_by"])
    ways = [f"failed points again: tunectl retry {name} --failed"] if summary["counts"]["failed"] else []
    ways += [] if is_exhausted else ["another budget: tunectl submit --replace FILE"]
    return "; ".join([f"{name} is done, {spent}", *ways, "all of it again: tunectl submit --fresh FILE"])


def unchanged(summary: ExperimentSummary) -> str:
    """The answer to a file that is active already."""
    name = printable(summary["name"])
    if summary["state"] == "paused":
        return f"{name} is already active, unchanged; it is paused, to go on: tunectl resume {name}"
    note = f"; {printable(summary['note'])}" if summary["note"] else ""
    return f"{name} is already active, unchanged{note}"


def taken(name: str, before: ExperimentSummary | None) -> str:
    """The answer to a file that the daemon takes, with the experiment as it was before, if it was there."""
    state = None if before is None else before["state"]
    if state == "cancelled":
        return f"{name} submitted and taken; it was cancelled and goes on, see tunectl show {name}"
    if state == "paused":
        return f"{name} submitted and taken; it is paused, to go on: tunectl resume {name}"
    return f"{name} submitted and taken; see tunectl show {name}"


def deleted(view: DeletedView) -> str:
    trials = counted(view["trials"], "trial")
    return f"{printable(view['name'])} is deleted, with {trials}; other hosts follow within a beat"


def _hints(view: AmendedView) -> list[str]:
    """Why nothing may come of it."""
    name = printable(view["experiment"]["name"])
    if full := _full(view):
        return full
    if view["experiment"]["state"] == "open" and not view["runs_here"]:
        return [f"this host does not work on {name}: submit its file here, too"]
    return []


def _full(view: AmendedView) -> list[str]:
    if not view["is_full"]:
        return []
    summary = view["experiment"]
    if summary["ended_by"] and not is_used_up(summary):
        why = printable(summary["ended_by"])
        return [f"nothing can start: {why}; give it another budget: tunectl submit --replace FILE"]
    spent = budget_text(summary)
    return [f"nothing can start: the budget is full ({spent}); raise it: tunectl submit --replace FILE"]


def diagnosis(canvas: Canvas, view: FixedView) -> list[str]:
    lines = [canvas.paint("fixed", Colour.GREEN) + f"  {printable(each)}" for each in view["fixed"]]
    for finding in view["findings"]:
        first, *more = finding["what"].splitlines()
        mark = (
            canvas.paint("✗", Colour.RED) if finding["kind"] == "fault" else canvas.paint("!", Colour.YELLOW)
        )
        lines.append(f"{mark} {printable(first)}")
        lines += [f"  {printable(each)}" for each in more]
        remedies = [finding["remedy"], *(["tunectl doctor --fix"] if finding["is_fixable"] else [])]
        lines += canvas.facts([("  Why", finding["why"]), ("  Do", "; or ".join(remedies))])
    return lines or ["Nothing is wrong."]
