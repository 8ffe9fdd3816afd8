"""The fleet as lines for people: its hosts, the changes that concern all of it, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuned.tunectl.pages.words import STATE_COLOURS, budget_text
from tuned.tunectl.text import Canvas, Cell, Colour, Column, printable, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuned.protocol.experiments import AmendedView, RetryView
    from tuned.protocol.fleet import FixedView, HostView


def hosts(canvas: Canvas, views: Sequence[HostView]) -> list[str]:
    if not views:
        return ["No hosts: none has joined this database yet."]
    columns = [Column("HOST", least=8), Column("STATE"), Column("SLOTS", is_right=True)]
    columns += [Column("GPUS", is_right=True)]
    columns += [Column("RUNNING", is_right=True), Column("LAST BEAT", is_right=True)]
    lines = canvas.table([*columns, Column("TUNED"), Column("OPTUNA")], [_host_row(each) for each in views])
    for each in views:
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
        mark = (
            canvas.paint("✗", Colour.RED) if finding["kind"] == "fault" else canvas.paint("!", Colour.YELLOW)
        )
        lines.append(f"{mark} {printable(first)}")
        lines += [f"  {printable(each)}" for each in more]
        remedies = [finding["remedy"], *(["tunectl doctor --fix"] if finding["is_fixable"] else [])]
        lines += canvas.facts([("  Why", finding["why"]), ("  Do", "; or ".join(remedies))])
    return lines or ["Nothing is wrong."]
