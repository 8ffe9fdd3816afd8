"""Experiments as lines for people: a table of all, or the facts of one, with progress and time left."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tuned.domain.counts import counted
from tuned.domain.resources import described
from tuned.domain.snapshot import shown
from tuned.tunectl.pages.words import (
    STATE_COLOURS,
    budget_text,
    constraints_text,
    failure_text,
    params_text,
    replacement_text,
    report_text,
    short_count,
    time_of_day,
    values_text,
)
from tuned.tunectl.text import UNBOUNDED, Canvas, Cell, Colour, Column, bar, cut, percent, printable, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tuned.protocol.experiments import (
        Counts,
        ExperimentSummary,
        ExperimentView,
        HostCounts,
        ResourcesView,
    )
    from tuned.protocol.trials import TrialView


_COUNTED_BY_HOST: tuple[Literal["complete", "reused", "failed", "skipped", "pruned", "running"], ...] = (
    "complete", "reused", "failed", "skipped", "pruned", "running",
)  # fmt: skip


#: How many replacements of the definition ``show`` lists.
MOST_REVISIONS = 5
_NO_VALUE = "no value: no trial of it gave one"
_NONE_FEASIBLE = "no trial is feasible"


class Progress(NamedTuple):
    """How far an experiment is towards the limit that it reaches first; a total of None: without one."""

    done: int
    total: int | None
    unit: str


def progress(summary: ExperimentSummary) -> Progress:
    """It counts what has ended: the budget is charged when a trial begins, a point is visited at its end."""
    trials, evaluations = (
        max(0, charged - summary["counts"]["running"])
        for charged in (summary["trials"], summary["evaluations"])
    )
    limits = (
        Progress(trials, summary["trials_limit"], "trial"),
        Progress(evaluations, summary["evaluations_limit"], "evaluation"),
        Progress(summary["visited"], summary["space_size"], "point"),
    )
    known = [each for each in limits if each.total]
    # A time budget of its own has no count; the trials say most then.
    return max(
        known,
        key=lambda each: each.done / (each.total or 1),
        default=Progress(trials, None, "trial"),
    )


def last_number(summary: ExperimentSummary) -> int:
    """Of its trials, those of other programs too, which no budget counts; 0 without one."""
    return max(0, sum(_numbers(summary["counts"]).values()) - 1)


def state_word(summary: ExperimentSummary) -> str:
    """The state of the experiment as it concerns this host."""
    return "paused" if summary["is_paused_here"] and summary["state"] == "open" else summary["state"]


def seconds_left(summary: ExperimentSummary, now: datetime) -> float | None:
    """By the pace so far, and not over the time budget's rest; None if nothing says when it will end."""
    if state_word(summary) != "open":
        return None
    done, total, _ = progress(summary)
    guesses = [] if summary["seconds_left"] is None else [summary["seconds_left"]]
    if done and total and summary["started"]:
        elapsed = (now - datetime.fromisoformat(summary["started"])).total_seconds()
        guesses.append(max(0.0, elapsed * (total - done) / done))
    return min(guesses, default=None)


def experiments(canvas: Canvas, views: Sequence[ExperimentSummary], now: datetime) -> list[str]:
    if not views:
        return ["No experiments. Submit one: tunectl submit FILE"]
    columns = [Column("EXPERIMENT", least=10), Column("STATE"), Column("PROGRESS"), Column("")]
    columns += [Column("RUN", is_right=True), Column("FAILED", is_right=True)]
    columns += [Column("BEST", is_right=True, least=6), Column("LEFT", is_right=True)]
    label = 20 if canvas.width < UNBOUNDED else UNBOUNDED
    beside = [(f"  {cut(each['name'], label)}", note) for each in views for note in notes(each)]
    return [*canvas.table(columns, [_experiment_row(each, now) for each in views]), *canvas.facts(beside)]


def notes(view: ExperimentSummary) -> Iterator[Cell]:
    """Where it came from, why it does not run, and why it ends."""
    if view["origin"]:
        yield Cell(f"adopted from {printable(view['origin'])}")
    if view["priority"]:
        yield Cell(f"priority {view['priority']}")
    if view["note"]:
        yield Cell(view["note"], Colour.YELLOW)
    if view["state"] == "done" and not view["best"]:
        yield Cell(f"done, {_NONE_FEASIBLE if view['nearest'] else _NO_VALUE}", Colour.YELLOW)
    if why := view["ended_by"]:
        yield Cell(printable(why if view["state"] in {"done", "cancelled"} else f"ends: {why}"))


def _experiment_row(view: ExperimentSummary, now: datetime) -> list[str | Cell]:
    left = seconds_left(view, now)
    done, total, _ = progress(view)
    drawn = bar(done, total, 10) if total else ""
    return [
        view["name"],
        Cell(state_word(view), STATE_COLOURS.get(state_word(view), Colour.NONE)),
        drawn,
        f"{short_count(done)}/{short_count(total)}" if total else short_count(done),
        str(view["counts"]["running"]),
        str(view["counts"]["failed"]),
        values_text(view["best"]["values"]) if view["best"] else "–",
        "–" if left is None else span(left),
    ]


def experiment(canvas: Canvas, view: ExperimentView, now: datetime) -> list[str]:
    summary = view["summary"]
    word = state_word(summary)
    state = canvas.paint(f"● {word}", STATE_COLOURS.get(word, Colour.NONE))
    lines = [f"{state}  {printable(summary['name'])}", *canvas.facts(_experiment_facts(view, now))]
    if view["hosts"]:
        lines += ["", *_hosts(canvas, view["hosts"])]
    if reporting := [trial for trial in view["running"] if trial["report"]]:
        lines += ["", "Latest reports"]
        lines += canvas.facts((f"  {trial['number']}", _report_text(trial)) for trial in reporting)
    if view["failures"]:
        lines += ["", "Latest failures"]
        lines += canvas.facts(
            (f"  {trial['number']}", failure_text(trial["failure"])) for trial in view["failures"]
        )
    return lines


def _report_text(trial: TrialView) -> str:
    assert trial["report"] is not None
    return report_text(trial["report"]) + (f" on {trial['host']}" if trial["host"] else "")


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
    size = "continuous" if summary["space_size"] is None else counted(summary["space_size"], "point")
    facts: list[tuple[str, str | Cell]] = []
    if summary["note"]:
        facts.append(("  Note", Cell(summary["note"], Colour.YELLOW)))
    if summary["ended_by"]:
        facts.append(("  Ended by", printable(summary["ended_by"])))
    facts += [
        ("  Progress", progress_text(summary, now)),
        ("  Trials", counts_text(summary["counts"])),
        ("  Budget", budget_text(summary) + _running_text(summary["counts"]["running"])),
        ("  Direction", ", ".join(summary["directions"])),
        ("  Space", f"{size}, {summary['visited']} visited"),
        ("  Sampler", f"{sampler['name']}{seed}"),
        *_pruner_facts(view["definition"].get("pruner")),
        *_code_facts(view["definition"].get("code")),
        *([("  Priority", str(summary["priority"]))] if summary["priority"] else []),
        *_notify_facts(view["definition"].get("notify")),
        ("  Slots", f"{summary['running']} busy here, at most {view['parallel'] or 'all'}"),
        *_resources_facts(view["resources"]),
        ("  Started", time_of_day(summary["started"]) if summary["started"] else "not yet"),
        ("  File", view["file"] or "none on this host"),
        ("  Outputs", _outputs_text(summary["name"], view["outputs"])),
        *(("  Replaced", replacement_text(each)) for each in view["revisions"][:MOST_REVISIONS]),
    ]
    facts += [("  Environment", f"{key}={value}") for key, value in view.get("env", {}).items()]
    return [*facts, *best_facts(summary)]


def _pruner_facts(pruner: Mapping[str, Any] | None) -> list[tuple[str, str | Cell]]:
    if pruner is None:
        return []
    keywords = ", ".join(
        f"{key} {value}" for key, value in pruner.items() if key not in {"name", "objective"}
    )
    return [("  Pruner", printable(f"{pruner['name']}{keywords and f': {keywords}'}"))]


def _code_facts(code: Mapping[str, Any] | None) -> list[tuple[str, str | Cell]]:
    if code is None:
        return []
    setup = f", set up by {' '.join(code['setup'])}" if code.get("setup") else ""
    return [("  Code", printable(f"snapshot {shown(code['snapshot'])}{setup}"))]


def _notify_facts(notify: Mapping[str, Any] | None) -> list[tuple[str, str | Cell]]:
    if notify is None:
        return []
    if not notify["on"]:
        return [("  Notify", "nothing")]
    way = notify.get("url") or " ".join(notify.get("command", ())) or "as the hosts' settings say"
    return [("  Notify", printable(f"{', '.join(notify['on'])} ({way})"))]


def _running_text(running: int) -> str:
    return f", {running} of them still running" if running else ""


def _outputs_text(name: str, outputs: str | None) -> str:
    if outputs is None:
        return "none on this host"
    return f"{outputs}/TRIAL/output.log; tunectl logs {name} TRIAL"


def _resources_facts(view: ResourcesView | None) -> list[tuple[str, str | Cell]]:
    if view is None:
        return []
    each = described(**view)
    return [("  Each trial", each)] if each else []


def best_facts(summary: ExperimentSummary) -> list[tuple[str, str | Cell]]:
    best, nearest = summary["best"], summary["nearest"]
    if best is None and nearest is not None:
        near = f"nearest is {nearest['number']}: {constraints_text(nearest['constraints'])}"
        return [("  Best", Cell(f"{_NONE_FEASIBLE}; {near}", Colour.YELLOW))]
    if best is None:
        has_ended = summary["state"] in {"done", "cancelled"}
        return [("  Best", Cell(_NO_VALUE, Colour.YELLOW) if has_ended else "no value yet")]
    where = f" on {best['host']}" if best["host"] else ""
    return [
        ("  Best", Cell(f"{values_text(best['values'])} in trial {best['number']}{where}", Colour.BOLD)),
        ("", params_text(best["params"])),
        *([("  Constraints", constraints_text(best["constraints"]))] if best["constraints"] else []),
    ]


def progress_text(summary: ExperimentSummary, now: datetime) -> str:
    done, total, unit = progress(summary)
    if not total:
        return counted(done, unit)
    left = seconds_left(summary, now)
    rest = "" if left is None else f", about {span(left)} left"
    return f"{bar(done, total, 20)} {percent(done, total)}  {done} of {counted(total, unit)}{rest}"


def counts_text(counts: Counts) -> str:
    numbers = (
        f"{count} {state}" for state, count in _numbers(counts).items() if count or state == "complete"
    )
    return ", ".join(numbers)


def _numbers(counts: Counts) -> Mapping[str, int]:
    return {state: count for state, count in counts.items() if isinstance(count, int)}
