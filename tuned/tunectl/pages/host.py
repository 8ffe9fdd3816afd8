"""One host's status as lines for people: facts, open experiments, slots."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tuned import __version__
from tuned.domain.counts import counted
from tuned.tunectl.pages.experiments import experiments
from tuned.tunectl.pages.words import STATE_COLOURS, off_text, report_text
from tuned.tunectl.text import Canvas, Cell, Colour, Column, printable, span

if TYPE_CHECKING:
    from tuned.protocol.host import GpuView, SlotView, Status


NOTHING_OPEN = "No open experiments. Submit one: tunectl submit FILE; see the ended ones: tunectl list"


def status(canvas: Canvas, view: Status, now: datetime) -> list[str]:
    lines = [headline(canvas, view), *canvas.facts(_host_facts(view))]
    found = experiments(canvas, view["experiments"], now) if view["experiments"] else [NOTHING_OPEN]
    lines += ["", *found]
    return [*lines, "", *_slots(canvas, view)]


def headline(canvas: Canvas, view: Status) -> str:
    state = canvas.paint(f"● {view['state']}", STATE_COLOURS.get(view["state"], Colour.NONE))
    busy = sum(slot["running"] is not None for slot in view["slots"])
    rest = f"for {span(view['uptime_seconds'])}, {busy} of {counted(len(view['slots']), 'slot')} busy"
    return f"{state}  {printable(view['host'])} {rest}"


def _host_facts(view: Status) -> list[tuple[str, str | Cell]]:
    database, facts = view["database"], []
    facts.append(
        ("  Daemon", Cell(f"tuned {view['version']}, pid {view['pid']}, isolation {view['isolation']}"))
    )
    if view["version"] != __version__:
        due = f"{__version__} is installed; to run it, while trials go on: tunectl restart"
        facts.append(("", Cell(due, Colour.YELLOW)))
    # If there are none, each experiment that asks for some says so itself.
    if limits := view["limits"]:
        facts.append(("  Limits", Cell(", ".join(limits))))
    user = view["trials_user"]
    facts.append(
        ("  Trials", Cell(f"run as {user}" if user else "run as the daemon's user, and may do what it may"))
    )
    running = [slot["running"] for slot in view["slots"] if slot["running"] is not None]
    if adopted := sum(each["is_adopted"] for each in running):
        facts.append(("  Adopted", Cell(f"{counted(adopted, 'trial')} that an earlier daemon began")))
    if gpus := view["gpus"]:
        facts.append(("  GPUs", Cell(", ".join(f"{each['id']} {_used_text(each)}" for each in gpus))))
    if hours := view["hours"]:
        facts.append(("  Hours", Cell(", ".join(hours))))
    if off := view["off"]:
        facts.append(("", Cell(f"nothing starts here {off_text(off)}", Colour.YELLOW)))
    facts.append(("  Spool", Cell(view["spool"])))
    facts.append(("  Database", Cell(database["url"])))
    if not database["reachable"]:
        facts.append(("", Cell(f"away: {database['message'] or 'it does not answer'}", Colour.RED)))
    if waiting := database["pending_results"]:
        facts.append(("", Cell(f"waiting on this host's disk: {counted(waiting, 'result')}", Colour.YELLOW)))
    facts += [("  Warning", Cell(warning, Colour.YELLOW)) for warning in view["warnings"]]
    return [*facts]


def _used_text(gpu: GpuView) -> str:
    used = gpu["used"]
    if gpu["is_left"]:
        return f"{used:.0%} busy, and used by others" if used else "used by others"
    return "free" if not used else "busy" if used == 1 else f"{used:.0%} busy"


def _slots(canvas: Canvas, view: Status) -> list[str]:
    columns = [Column("SLOT", is_right=True), Column("EXPERIMENT", least=12), Column("TRIAL", is_right=True)]
    has_replicates = any(map(_replicate, view["slots"]))
    has_gpus, has_reports = bool(view["gpus"]), any(map(_report, view["slots"]))
    columns += [Column("REPLICATE", is_right=True)] if has_replicates else []
    columns += [Column("ATTEMPT", is_right=True), Column("SINCE", is_right=True)]
    columns += [Column("REPORT", least=8)] if has_reports else []
    columns += [Column("GPUS", least=6)] if has_gpus else []
    rows = []
    for slot in view["slots"]:
        row = _slot_row(slot)
        row[3:3] = [_replicate(slot)] if has_replicates else []
        row += [_report(slot)] if has_reports else []
        row += [", ".join(slot["running"]["gpus"]) if slot["running"] else ""] if has_gpus else []
        rows.append(row)
    return canvas.table(columns, rows)


def _report(slot: SlotView) -> str:
    run = slot["running"]
    return report_text(run["report"]) if run is not None and run["report"] is not None else ""


def _replicate(slot: SlotView) -> str:
    run = slot["running"]
    return f"{run['replicate']} of {run['replicates']}" if run is not None and run["replicates"] > 1 else ""


def _slot_row(slot: SlotView) -> list[str | Cell]:
    run = slot["running"]
    if run is None:
        return [str(slot["slot"]), Cell("idle", Colour.DIM), "", "", ""]
    trial, attempt = str(run["trial"]), str(run["attempt"])
    return [str(slot["slot"]), run["experiment"], trial, attempt, span(run["seconds"])]
