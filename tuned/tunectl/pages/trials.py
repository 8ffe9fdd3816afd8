"""Trials as lines for people: a table, the best ones, or the story of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.domain.counts import counted
from tuned.domain.snapshot import shown
from tuned.tunectl.pages.words import (
    STATE_COLOURS,
    constraints_text,
    failure_text,
    params_text,
    pruned_text,
    replacement_text,
    report_text,
    time_of_day,
    value_text,
    values_text,
    violated_names,
)
from tuned.tunectl.text import Canvas, Cell, Colour, Column, printable, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.trials import BestsView, BestView, PointView, ReplicatesView, StoryView, TrialView


_ORIGINS = {
    "points": "given by [[points]] of the experiment's file",
    "enqueued": "enqueued by another program",
    "freed": "taken up again: an earlier trial of it was aborted, lost or retried",
    "walk": "the next point that nobody had visited",
    "late": "a value that came after its trial had ended",
}


def story(canvas: Canvas, name: str, view: StoryView) -> list[str]:
    trial = view["trial"]
    state = canvas.paint(trial["state"], STATE_COLOURS.get(trial["state"], Colour.NONE))
    facts = [("  Point", params_text(trial["params"]) or "no parameters"), ("  From", _origin_text(view))]
    facts += _began(trial)
    if view["adoptions"]:
        daemons = counted(view["adoptions"], "later daemon")
        facts.append(("  Adopted", f"by {daemons}: it outlived those before"))
    facts += _definition(view)
    facts += _code(view)
    for attempt, failure in enumerate(view["retried"], 1):
        facts.append((f"  Attempt {attempt}", f"{failure_text(failure)}; tried again"))
    facts += _reports(view)
    facts += _replicates(view["replicates"])
    facts += _ended(trial)
    if trial["constraints"]:
        facts.append(("  Constraints", constraints_text(trial["constraints"])))
    if view["late_of"] is not None:
        facts.append(("  Late", f"the value of trial {view['late_of']}, which had been given up as lost"))
    if view["point"] is not None:
        facts.append(("  Point now", _point_text(trial["number"], view["point"])))
    if view["output"] is not None:
        facts.append(("  Output", view["output"]))
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


def _definition(view: StoryView) -> list[tuple[str, str]]:
    """Empty if there has been no other."""
    number, replacement = view["revision"], view["replacement"]
    if number is None or view["revision_now"] == 1:
        return []
    how = "" if replacement is None else f", replaced {replacement_text(replacement)}"
    return [("  Definition", f"revision {number} of {view['revision_now']}{how}")]


def _code(view: StoryView) -> list[tuple[str, str]]:
    return [("  Code", f"snapshot {shown(view['code'])}")] if view["code"] else []


def _reports(view: StoryView) -> list[tuple[str, str]]:
    if not view["reports"]:
        return []
    first, last = view["reports"][0], view["reports"][-1]
    first_text = "" if view["reported"] == 1 else f"from {report_text(first)} to "
    return [("  Reports", f"{view['reported']}: {first_text}{report_text(last)}")]


def _replicates(view: ReplicatesView | None) -> list[tuple[str, str]]:
    if view is None or not view["values"]:
        return []
    shown = "; " if len(view["values"][0]) > 1 else ", "
    values = shown.join(values_text(each) for each in view["values"])
    return [("  Replicates", f"{values} ({len(view['values'])} of {view['count']}; {view['reduce']})")]


def _ended(trial: TrialView) -> list[tuple[str, str]]:
    after = "" if trial["seconds"] is None else f" after {span(trial['seconds'])}"
    if twin := trial["duplicate_of"]:
        of = f"trial {twin['number']}" + (f" on {twin['host']}" if twin["host"] else "")
        by = f" by {trial['host']}" if trial["host"] else ""
        if trial["values"] is None:
            return [("  Skipped", f"at once{by}: its point was being evaluated as {of}")]
        return [("  Reused", f"at once{by}: {values_text(trial['values'])}, the value of {of}")]
    if trial["state"] == "PRUNED":
        last = "" if trial["values"] is None else f", with {values_text(trial['values'])} as its last report"
        by = f"by {pruned_text(trial['pruned'])};" if trial["pruned"] else "by the objective itself"
        return [("  Pruned", f"{by}{after}{last}")]
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
        case "pruned":
            return f"pruned in {who}{losses}: it is not drawn again"
        case "free":
            return f"free: it goes ahead of what is drawn{losses}" if point["trial"] is not None else "free"


def trials(canvas: Canvas, views: Sequence[TrialView]) -> list[str]:
    if not views:
        return ["No trials."]
    columns = [Column("TRIAL", is_right=True), Column("STATE"), Column("VALUE", is_right=True, least=8)]
    columns += [Column("TIME", is_right=True), Column("HOST", least=6), Column("PARAMETERS", least=16)]
    return canvas.table([*columns, Column("NOTE", least=10)], [_trial_row(each) for each in views])


def _trial_row(view: TrialView) -> list[str | Cell]:
    return [
        str(view["number"]),
        Cell(view["state"], STATE_COLOURS.get(view["state"], Colour.NONE)),
        "–" if view["values"] is None else values_text(view["values"]),
        "–" if view["seconds"] is None else span(view["seconds"]),
        view["host"] or "–",
        params_text(view["params"]),
        _trial_note(view),
    ]


def _trial_note(view: TrialView) -> str:
    if twin := view["duplicate_of"]:
        return f"as {twin['number']}" + (f" on {twin['host']}" if twin["host"] else "")
    if view["failure"]:
        return failure_text(view["failure"])
    if view["pruned"]:
        return pruned_text(view["pruned"])
    if violated := violated_names(view["constraints"]):
        return f"violates {', '.join(violated)}"
    attempt = f"attempt {view['attempt']}" if view["attempt"] > 1 else ""
    report = report_text(view["report"]) if view["report"] else ""
    return ", ".join(filter(None, [attempt, report]))


def best(canvas: Canvas, view: BestsView, *, is_table: bool = False) -> list[str]:
    """One trial, or a table of several; without a feasible one the nearest."""
    views, nearest = view["best"], view["nearest"]
    if not views and nearest is not None:
        return ["No trial is feasible. The nearest one:", *_one_best(canvas, nearest)]
    if len(views) == 1 and not is_table:
        return _one_best(canvas, views[0])
    columns = [Column("TRIAL", is_right=True), Column("VALUES", least=10), Column("HOST", least=6)]
    rows = [
        [str(v["number"]), values_text(v["values"]), v["host"] or "–", params_text(v["params"])]
        for v in views
    ]
    return canvas.table([*columns, Column("PARAMETERS", least=16)], rows)


def _one_best(canvas: Canvas, view: BestView) -> list[str]:
    where = f" on {view['host']}" if view["host"] else ""
    head = f"Trial {view['number']}{where}: {canvas.paint(values_text(view['values']), Colour.BOLD)}"
    facts = [(f"  {name}", value_text(value)) for name, value in view["params"].items()]
    if view["constraints"]:
        facts.append(("  Constraints", constraints_text(view["constraints"])))
    return [head, *canvas.facts(facts)]
