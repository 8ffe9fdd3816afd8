"""What tunectl prints: each answer of the daemon as lines for people, at most as wide as the canvas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from tuned import __version__
from tuned.resources import Resources, parse_gpus
from tuned.tables import Canvas, Cell, Colour, Column, bar, cut, number, percent, printable, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuned.views import (
        BestView,
        Counts,
        Event,
        ExperimentSummary,
        ExperimentView,
        FailureView,
        HostCounts,
        Params,
        ResourcesView,
        SlotView,
        Status,
        TrialView,
    )

STATE_COLOURS = {
    "running": Colour.GREEN,
    "open": Colour.GREEN,
    "done": Colour.BOLD,
    "COMPLETE": Colour.GREEN,
    "RUNNING": Colour.BOLD,
    "WAITING": Colour.DIM,
    "cancelled": Colour.DIM,
    "paused": Colour.YELLOW,
    "starting": Colour.YELLOW,
    "draining": Colour.YELLOW,
    "aborting": Colour.RED,
    "FAIL": Colour.RED,
    "dead": Colour.RED,
    "stopped": Colour.DIM,
}


_COUNTED_BY_HOST: tuple[Literal["complete", "reused", "failed", "skipped", "running"], ...] = (
    "complete", "reused", "failed", "skipped", "running",
)  # fmt: skip
_NOTHING_OPEN = "No open experiments. Submit one: tunectl submit FILE; see the ended ones: tunectl list"


class Progress(NamedTuple):
    """How far an experiment is towards the limit that it reaches first; a total of None: without one."""

    done: int
    total: int | None
    unit: str


def progress(summary: ExperimentSummary) -> Progress:
    limits = (
        Progress(summary["trials"], summary["trials_limit"], "trials"),
        Progress(summary["evaluations"], summary["evaluations_limit"], "evaluations"),
        Progress(summary["visited"], summary["space_size"], "points"),
    )
    known = [each for each in limits if each.total]
    # A time budget of its own has no count; what was charged says most then.
    return max(
        known,
        key=lambda each: each.done / (each.total or 1),
        default=Progress(summary["trials"], None, "trials"),
    )


def seconds_left(summary: ExperimentSummary, now: datetime) -> float | None:
    """By the pace so far, and not over the time budget's rest; None if nothing says when it will end."""
    if summary["state"] != "open":
        return None
    done, total, _ = progress(summary)
    guesses = [] if summary["seconds_left"] is None else [summary["seconds_left"]]
    if done and total and summary["started"]:
        elapsed = (now - datetime.fromisoformat(summary["started"])).total_seconds()
        guesses.append(max(0.0, elapsed * (total - done) / done))
    return min(guesses, default=None)


def status(canvas: Canvas, view: Status, now: datetime) -> list[str]:
    lines = [_headline(canvas, view), *canvas.facts(_host_facts(view))]
    found = experiments(canvas, view["experiments"], now) if view["experiments"] else [_NOTHING_OPEN]
    lines += ["", *found]
    return [*lines, "", *_slots(canvas, view)]


def _headline(canvas: Canvas, view: Status) -> str:
    state = canvas.paint(f"● {view['state']}", STATE_COLOURS.get(view["state"], Colour.NONE))
    busy = sum(slot["running"] is not None for slot in view["slots"])
    rest = f"for {span(view['uptime_seconds'])}, {busy} of {len(view['slots'])} slots busy"
    return f"{state}  {printable(view['host'])} {rest}"


def _host_facts(view: Status) -> list[tuple[str, str | Cell]]:
    database, facts = view["database"], []
    facts.append(
        ("  Daemon", Cell(f"tuned {view['version']}, pid {view['pid']}, isolation {view['isolation']}"))
    )
    if view["version"] != __version__:
        due = (
            f"{__version__} is installed and runs from the next start: tunectl drain --wait, then start tuned"
        )
        facts.append(("", Cell(due, Colour.YELLOW)))
    facts.append(("  Limits", Cell(", ".join(view["limits"]) or "none can be kept here")))
    if gpus := view["gpus"]:
        facts.append(("  GPUs", Cell(", ".join(f"{each['id']} {_used_text(each['used'])}" for each in gpus))))
    facts.append(("  Spool", Cell(view["spool"])))
    facts.append(("  Database", Cell(database["url"])))
    if not database["reachable"]:
        facts.append(("", Cell(f"away: {database['message'] or 'it does not answer'}", Colour.RED)))
    if waiting := database["pending_results"]:
        facts.append(("", Cell(f"{waiting} results wait on this host's disk", Colour.YELLOW)))
    facts += [("  Warning", Cell(warning, Colour.YELLOW)) for warning in view["warnings"]]
    return [*facts]


def _used_text(used: float) -> str:
    return "free" if not used else "busy" if used == 1 else f"{used:.0%} busy"


def _slots(canvas: Canvas, view: Status) -> list[str]:
    columns = [Column("SLOT", is_right=True), Column("EXPERIMENT", least=12), Column("TRIAL", is_right=True)]
    columns += [Column("ATTEMPT", is_right=True), Column("SINCE", is_right=True)]
    if view["gpus"]:
        columns.append(Column("GPUS", least=6))
    return canvas.table(columns, [_slot_row(slot)[: len(columns)] for slot in view["slots"]])


def _slot_row(slot: SlotView) -> list[str | Cell]:
    run = slot["running"]
    if run is None:
        return [str(slot["slot"]), Cell("idle", Colour.DIM), "", "", "", ""]
    trial, attempt, gpus = str(run["trial"]), str(run["attempt"]), ", ".join(run["gpus"])
    return [str(slot["slot"]), run["experiment"], trial, attempt, span(run["seconds"]), gpus]


def experiments(canvas: Canvas, views: Sequence[ExperimentSummary], now: datetime) -> list[str]:
    if not views:
        return ["No experiments. Submit one: tunectl submit FILE"]
    columns = [Column("EXPERIMENT", least=10), Column("STATE"), Column("PROGRESS"), Column("")]
    columns += [Column("RUN", is_right=True), Column("FAILED", is_right=True)]
    columns += [Column("BEST", is_right=True, least=6), Column("LEFT", is_right=True)]
    notes = [
        (f"  {cut(each['name'], 20)}", Cell(each["note"], Colour.YELLOW)) for each in views if each["note"]
    ]
    return [*canvas.table(columns, [_experiment_row(each, now) for each in views]), *canvas.facts(notes)]


def _experiment_row(view: ExperimentSummary, now: datetime) -> list[str | Cell]:
    left = seconds_left(view, now)
    done, total, _ = progress(view)
    drawn = bar(done, total, 10) if total else ""
    return [
        view["name"],
        Cell(view["state"], STATE_COLOURS.get(view["state"], Colour.NONE)),
        drawn,
        f"{_short(done)}/{_short(total)}" if total else _short(done),
        str(view["counts"]["running"]),
        str(view["counts"]["failed"]),
        values_text(view["best"]["values"]) if view["best"] else "–",
        "–" if left is None else span(left),
    ]


def experiment(canvas: Canvas, view: ExperimentView, now: datetime) -> list[str]:
    summary = view["summary"]
    state = canvas.paint(f"● {summary['state']}", STATE_COLOURS.get(summary["state"], Colour.NONE))
    lines = [f"{state}  {summary['name']}", *canvas.facts(_experiment_facts(view, now))]
    if view["hosts"]:
        lines += ["", *_hosts(canvas, view["hosts"])]
    if view["failures"]:
        lines += ["", "Latest failures"]
        lines += canvas.facts(
            (f"  {trial['number']}", failure_text(trial["failure"])) for trial in view["failures"]
        )
    return lines


def _hosts(canvas: Canvas, views: Sequence[HostCounts]) -> list[str]:
    columns = [Column("HOST", least=16)]
    columns += [Column(each.upper(), is_right=True) for each in _COUNTED_BY_HOST]
    rows = [
        [each["host"] or "other programs", *(str(each["counts"][count]) for count in _COUNTED_BY_HOST)]
        for each in views
    ]
    return canvas.table(columns, rows)


def _experiment_facts(view: ExperimentView, now: datetime) -> list[tuple[str, str | Cell]]:
    summary, sampler = view["summary"], view["sampler"]
    seed = "" if sampler["seed"] is None else f", seed {sampler['seed']}"
    size = "continuous" if summary["space_size"] is None else f"{summary['space_size']} points"
    facts: list[tuple[str, str | Cell]] = []
    if summary["note"]:
        facts.append(("  Note", Cell(summary["note"], Colour.YELLOW)))
    facts += [
        ("  Progress", _progress_text(summary, now)),
        ("  Trials", _counts_text(summary["counts"])),
        ("  Budget", budget_text(summary)),
        ("  Direction", ", ".join(summary["directions"])),
        ("  Space", f"{size}, {summary['visited']} visited"),
        ("  Sampler", f"{sampler['name']}{seed}"),
        ("  Slots", f"{summary['running']} busy here, at most {view['parallel'] or 'all'}"),
        *_resources_facts(view["resources"]),
        ("  Started", time_of_day(summary["started"]) if summary["started"] else "not yet"),
        ("  File", view["file"] or "none on this host"),
    ]
    facts += [("  Environment", f"{key}={value}") for key, value in view.get("env", {}).items()]
    return [*facts, *_best_facts(summary["best"])]


def _resources_facts(view: ResourcesView | None) -> list[tuple[str, str | Cell]]:
    if view is None:
        return []
    gpus = None if view["gpus"] is None else parse_gpus(view["gpus"])
    each = str(Resources(memory=view["memory"], cpus=view["cpus"], pids=view["pids"], gpus=gpus))
    return [("  Each trial", each)] if each else []


def _best_facts(best: BestView | None) -> list[tuple[str, str | Cell]]:
    if best is None:
        return [("  Best", "no value yet")]
    where = f" on {best['host']}" if best["host"] else ""
    return [
        ("  Best", Cell(f"{values_text(best['values'])} in trial {best['number']}{where}", Colour.BOLD)),
        ("", params_text(best["params"])),
    ]


def _progress_text(summary: ExperimentSummary, now: datetime) -> str:
    done, total, unit = progress(summary)
    if not total:
        return f"{done} {unit}"
    left = seconds_left(summary, now)
    rest = "" if left is None else f", about {span(left)} left"
    return f"{bar(done, total, 24)} {percent(done, total)}  {done} of {total} {unit}{rest}"


def _counts_text(counts: Counts) -> str:
    numbers = (
        f"{count} {state}" for state, count in _numbers(counts).items() if count or state == "complete"
    )
    return ", ".join(numbers)


def _numbers(counts: Counts) -> Mapping[str, int]:
    return {state: count for state, count in counts.items() if isinstance(count, int)}


def budget_text(summary: ExperimentSummary) -> str:
    parts = []
    if summary["trials_limit"] is not None:
        parts.append(f"{summary['trials']} of {summary['trials_limit']} trials")
    if summary["evaluations_limit"] is not None:
        parts.append(f"{summary['evaluations']} of {summary['evaluations_limit']} evaluations")
    if summary["seconds_left"] is not None:
        parts.append(f"{span(summary['seconds_left'])} of its time left")
    return ", ".join(parts) or "none: until every point is visited, or cancelled"


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
    return f"attempt {view['attempt']}" if view["attempt"] > 1 else ""


def failure_text(failure: FailureView | None) -> str:
    if failure is None:
        return "failed"
    cause, message = failure["cause"], failure.get("message") or failure["cause"]
    # "exit status 1" says its cause itself.
    return message if message.startswith(cause) else f"{cause}: {message}"


def best(canvas: Canvas, views: Sequence[BestView]) -> list[str]:
    """One trial, or a table of the front."""
    if not views:
        return ["No value yet."]
    if len(views) == 1:
        view = views[0]
        where = f" on {view['host']}" if view["host"] else ""
        head = f"Trial {view['number']}{where}: {canvas.paint(values_text(view['values']), Colour.BOLD)}"
        return [head, *canvas.facts((f"  {name}", _value(value)) for name, value in view["params"].items())]
    columns = [Column("TRIAL", is_right=True), Column("VALUES", least=10), Column("HOST", least=6)]
    rows = [
        [str(v["number"]), values_text(v["values"]), v["host"] or "–", params_text(v["params"])]
        for v in views
    ]
    return canvas.table([*columns, Column("PARAMETERS", least=16)], rows)


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
    names = ("" if message.startswith(file) else file, view.get("note"), message)
    texts = [text for text in (view.get("state"), *names) if text]
    if values := view.get("values"):
        texts.append(f"value {values_text(values)}")
    if failure := view.get("failure"):
        texts.append(failure_text(failure))
    if twin := view.get("duplicate_of"):
        texts.append(f"as {twin['number']}" + (f" on {twin['host']}" if twin["host"] else ""))
    if params := view.get("params"):
        texts.append(params_text(params))
    if "count" in view:
        texts.append(f"{view['count']} events: read too slowly")
    return texts


def time_of_day(stamp: str) -> str:
    """In the reader's time zone; with the date, if it is not today."""
    moment = datetime.fromisoformat(stamp).astimezone()
    is_today = moment.date() == datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def _short(count: int) -> str:
    """At most five places: 46, 120k, 4.2M."""
    if count < 100_000:
        return str(count)
    scaled = float(count)
    for unit in "kMGTP":
        scaled /= 1000
        if scaled < 1000:
            return f"{scaled:.3g}{unit}"
    return f"{scaled / 1000:.3g}E"


def values_text(values: Sequence[float]) -> str:
    return ", ".join(number(value) for value in values)


def params_text(params: Params) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in params.items())


def _value(value: float | str) -> str:
    return number(value) if isinstance(value, float) else str(value)
