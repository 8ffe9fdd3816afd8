"""Templates and what they call: texts of numbers, times and states. All that is not ours is escaped."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tuned import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuned.protocol.experiments import ExperimentSummary

_MOST_LETTERS = 200

#: The words of states, as the style sheet colours them.
_TONES = {
    "running": "good", "open": "good", "done": "good", "COMPLETE": "good", "RUNNING": "busy",
    "paused": "warn", "draining": "warn", "aborting": "bad", "PRUNED": "warn", "cancelled": "plain",
    "FAIL": "bad", "dead": "bad", "unreadable": "bad", "stopped": "plain", "starting": "plain",
    "WAITING": "plain",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: its parts by name, each of which is replaced when it is another one, and its twin in JSON."""

    title: str
    parts: Mapping[str, str]
    twin: Mapping[str, object]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Progress:
    done: int
    total: int | None
    unit: str

    @property
    def percent(self) -> int:
        return min(100, round(100 * self.done / self.total)) if self.total else 0


def progress(summary: ExperimentSummary) -> Progress:
    """How far an experiment is towards the limit that it reaches first, by what has ended."""
    running = summary["counts"]["running"]
    limits = [
        Progress(max(0, summary["trials"] - running), summary["trials_limit"], "trials"),
        Progress(max(0, summary["evaluations"] - running), summary["evaluations_limit"], "evaluations"),
        Progress(summary["visited"], summary["space_size"], "points"),
    ]
    known = [each for each in limits if each.total]
    return max(
        known,
        key=lambda each: each.done / (each.total or 1),
        default=Progress(limits[0].done, None, "trials"),
    )


def counted(summary: ExperimentSummary) -> int:
    """How many trials it has, of any state."""
    of = summary["counts"]
    ended = of["complete"] + of["reused"] + of["failed"] + of["skipped"] + of["pruned"]
    return ended + of["running"] + of["waiting"]


def number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def numbers(values: Sequence[object] | None) -> str:
    return ", ".join(map(number, values or ())) or "–"


def params(values: Mapping[str, object]) -> str:
    text = ", ".join(f"{name} = {number(value)}" for name, value in values.items())
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def span(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment(text: str | None) -> Markup:
    """A time, which the browser shows by the reader's own clock."""
    if text is None:
        return Markup("–")
    shown = f"{text[:10]} {text[11:19]} UTC"
    return Markup('<time datetime="{}" data-moment>{}</time>').format(text, shown)


def since(text: str | None) -> Markup:
    """A span that the browser lets grow."""
    return Markup() if text is None else Markup('<time datetime="{}" data-since></time>').format(text)


def badge(word: str) -> Markup:
    return Markup('<span class="badge {}">{}</span>').format(_TONES.get(word, "plain"), word)


def path_of(name: str, trial: int | None = None) -> str:
    """The address of an experiment's page, or of one of its trials."""
    end = "" if trial is None else f"/trials/{trial}"
    return f"/experiments/{quote(name, safe='')}{end}"


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


_environment = Environment(
    loader=PackageLoader("tuned.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "number": number, "numbers": numbers, "params": params, "span": span, "moment": moment, "since": since,
    "badge": badge, "as_json": as_json, "progress": progress,
}  # fmt: skip
_environment.globals |= {"path_of": path_of, "version": __version__}


def render(template: str, **values: object) -> str:
    return _environment.get_template(template).render(values)
