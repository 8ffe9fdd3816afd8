"""What tunectl prints of the fleet and of single trials, at most as wide as the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.tables import Canvas, Cell, Colour, Column, printable, span
from tuned.tunectl_pages import (
    STATE_COLOURS,
    budget_text,
    failure_text,
    params_text,
    time_of_day,
    values_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.views import AmendedView, FixedView, HostView, PointView, RetryView, StoryView, TrialView

_ORIGINS = {
    "points": "given by [[points]] of the experiment's file",
    "enqueued": "enqueued by another program",
    "freed": "taken up again: an earlier trial of it was aborted, lost or retried",
    "walk": "the next point that nobody had visited",
    "late": "a value that came after its trial had ended",
}


def hosts(canvas: Canvas, views: Sequence[HostView]) -> list[str]:
    if not views:
        return ["No hosts: none has joined this database yet."]
    columns = [Column("HOST", least=8), Column("STATE"), Column("SLOTS", is_right=True)]
    columns += [Column("GPUS", is_right=True)]
    columns += [Column("RUNNING", is_right=True), Column("LAST BEAT", is_right=True)]
    return canvas.table([*columns, Column("TUNED"), Column("OPTUNA")], [_host_row(each) for each in views])


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


def story(canvas: Canvas, name: str, view: StoryView) -> list[str]:
    trial = view["trial"]
    state = canvas.paint(trial["state"], STATE_COLOURS.get(trial["state"], Colour.NONE))
    facts = [("  Point", params_text(trial["params"]) or "no parameters"), ("  From", _origin_text(view))]
    facts += _began(trial)
    for attempt, failure in enumerate(view["retried"], 1):
        facts.append((f"  Attempt {attempt}", f"{failure_text(failure)}; tried again"))
    facts += _ended(trial)
    if view["late_of"] is not None:
        facts.append(("  Late", f"the value of trial {view['late_of']}, which had been given up as lost"))
    if view["point"] is not None:
        facts.append(("  Point now", _point_text(trial["number"], view["point"])))
    return [f"Trial {trial['number']} of {printable(name)}: {state}", *canvas.facts(facts)]


def _origin_text(view: StoryView) -> str:
    origin = view["origin"]
    if origin == "sampler":
        return f"drawn by the sampler ({view['sampler']})"
    return "another program: tuned did not draw it" if origin is None else _ORIGINS.get(origin, origin)


def _began(trial: TrialView) -> list[tuple[str, str]]:
    if trial["started"] is None or trial["duplicate_of"] is not None:
        return []
    where = f" by {trial['host']}" if trial["host"] else ""
    return [("  Claimed", f"{time_of_day(trial['started'])}{where}")]


def _ended(trial: TrialView) -> list[tuple[str, str]]:
    after = "" if trial["seconds"] is None else f" after {span(trial['seconds'])}"
    if twin := trial["duplicate_of"]:
        of = f"trial {twin['number']}" + (f" on {twin['host']}" if twin["host"] else "")
        by = f" by {trial['host']}" if trial["host"] else ""
        if trial["values"] is None:
            return [("  Skipped", f"at once{by}: its point was being evaluated as {of}")]
        return [("  Reused", f"at once{by}: {values_text(trial['values'])}, the value of {of}")]
    if trial["values"] is not None:
        return [("  Complete", f"{values_text(trial['values'])}{after}")]
    if trial["state"] == "FAIL":
        return [("  Failed", f"{failure_text(trial['failure'])}{after}")]
    return []


def _point_text(number: int, point: PointView) -> str:
    who = "this trial" if point["trial"] == number else f"trial {point['trial']}"
    if point["host"] and point["trial"] != number:
        who += f" on {point['host']}"
    losses = f" (lost {point['losses']} times)" if point["losses"] > 1 else ""
    match point["state"]:
        case "held":
            return f"being evaluated by {who}{losses}"
        case "done":
            late = f", a late value of trial {point['late_of']}" if point["late_of"] is not None else ""
            return f"done: {who} has its value{late}"
        case "failed":
            return f"failed in {who}{losses}; tunectl retry evaluates it again"
        case "free":
            return f"free: it goes ahead of what is drawn{losses}" if point["trial"] is not None else "free"


def retried(view: RetryView) -> list[str]:
    freed, name = view["freed"], printable(view["experiment"]["name"])
    if not freed:
        return [f"no point of {name} is to be retried"]
    points = "1 failed point" if freed == 1 else f"{freed} failed points"
    return [f"{points} of {name} free again; it is {view['experiment']['state']}", *_hints(view)]


def replaced(view: AmendedView) -> str:
    summary = view["experiment"]
    return f"{printable(summary['name'])} is {summary['state']}; its budget: {budget_text(summary)}"


def _hints(view: AmendedView) -> list[str]:
    """Why nothing may come of it."""
    name = printable(view["experiment"]["name"])
    if view["is_full"]:
        spent = budget_text(view["experiment"])
        return [f"nothing can start: the budget is full ({spent}); raise it: tunectl submit --replace FILE"]
    if view["experiment"]["state"] == "open" and not view["runs_here"]:
        return [f"this host does not work on {name}: submit its file here, too"]
    return []


def diagnosis(canvas: Canvas, view: FixedView) -> list[str]:
    lines = [canvas.paint("fixed", Colour.GREEN) + f"  {printable(each)}" for each in view["fixed"]]
    for finding in view["findings"]:
        first, *more = finding["what"].splitlines()
        lines.append(canvas.paint("✗", Colour.RED) + f" {printable(first)}")
        lines += [f"  {printable(each)}" for each in more]
        remedies = [finding["remedy"], *(["tunectl doctor --fix"] if finding["is_fixable"] else [])]
        lines += canvas.facts([("  Why", finding["why"]), ("  Do", "; or ".join(remedies))])
    return lines or ["Nothing is wrong."]
