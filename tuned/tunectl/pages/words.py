"""Words and colours that several pages share: budgets, failures, times, counts, values. It makes no page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tuned.domain.counts import counted
from tuned.tunectl.text import Colour, number, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuned.protocol.experiments import ExperimentSummary
    from tuned.protocol.fields import OffView, Params
    from tuned.protocol.trials import FailureView, PrunedView, ReportView, RevisionView


STATE_COLOURS = {
    "running": Colour.GREEN,
    "open": Colour.GREEN,
    "done": Colour.BOLD,
    "COMPLETE": Colour.GREEN,
    "RUNNING": Colour.BOLD,
    "WAITING": Colour.DIM,
    "PRUNED": Colour.DIM,
    "cancelled": Colour.DIM,
    "paused": Colour.YELLOW,
    "starting": Colour.YELLOW,
    "draining": Colour.YELLOW,
    "aborting": Colour.RED,
    "FAIL": Colour.RED,
    "dead": Colour.RED,
    "stopped": Colour.DIM,
}


def budget_text(summary: ExperimentSummary) -> str:
    parts = []
    if summary["trials_limit"] is not None:
        parts.append(f"{summary['trials']} of {counted(summary['trials_limit'], 'trial')}")
    if summary["evaluations_limit"] is not None:
        parts.append(f"{summary['evaluations']} of {counted(summary['evaluations_limit'], 'evaluation')}")
    if summary["seconds_left"] is not None:
        parts.append(f"{span(summary['seconds_left'])} of its time left")
    if summary["target"] is not None:
        parts.append(f"until {values_text(summary['target'])} is reached")
    if summary["stalled_limit"] is not None:
        limit = counted(summary["stalled_limit"], "evaluation")
        parts.append(f"{summary['stalled']} of {limit} with nothing better")
    return ", ".join(parts) or "none: until every point is visited, or cancelled"


def is_used_up(summary: ExperimentSummary) -> bool:
    """Whether one of the counted limits is reached, or the time is over."""
    limits = (
        (summary["trials"], summary["trials_limit"]),
        (summary["evaluations"], summary["evaluations_limit"]),
    )
    is_full = any(limit is not None and count >= limit for count, limit in limits)
    return is_full or summary["seconds_left"] == 0


def failure_text(failure: FailureView | None) -> str:
    if failure is None:
        return "failed"
    cause, message = failure["cause"], failure.get("message") or failure["cause"]
    # "exit status 1" says its cause itself.
    return message if message.startswith(cause) else f"{cause}: {message}"


def report_text(report: ReportView) -> str:
    return f"step {report['step']}: {number(report['value'])}"


def pruned_text(pruned: PrunedView) -> str:
    """The rule that ended a trial, and at which report."""
    bound = "" if pruned["bound"] is None else f", bound {number(pruned['bound'])}"
    return f"{pruned['rule']} at step {pruned['step']}: {number(pruned['value'])}{bound}"


def replacement_text(view: RevisionView) -> str:
    """When and by whom a definition was replaced, and the changes, if this reader may see them."""
    changes = "; ".join(view.get("changes", []))
    text = f"{time_of_day(view['since'])} by {view['user']} on {view['host']}"
    return f"{text}: {changes}" if changes else text


def time_of_day(stamp: str) -> str:
    """In the reader's time zone; with the date, if it is not today."""
    moment = datetime.fromisoformat(stamp).astimezone()
    is_today = moment.date() == datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def off_text(off: OffView) -> str:
    """When a host does not work by its hours."""
    return f"since {time_of_day(off['since'])} until {time_of_day(off['until'])}, by its hours"


def short_count(count: int) -> str:
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


def constraints_text(constraints: Mapping[str, float]) -> str:
    violated = set(violated_names(constraints))
    return ", ".join(
        f"{name} {number(value)}{' (violated)' if name in violated else ''}"
        for name, value in constraints.items()
    )


def violated_names(constraints: Mapping[str, float]) -> list[str]:
    # An infinite one comes as a string.
    return [name for name, value in constraints.items() if float(value) > 0]


def params_text(params: Params) -> str:
    return " ".join(f"{name}={value_text(value)}" for name, value in params.items())


def value_text(value: float | str) -> str:
    return number(value) if isinstance(value, float) else str(value)
