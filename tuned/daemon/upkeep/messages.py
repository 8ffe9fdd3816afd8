"""A piece of news as one JSON document, which chat services and programs understand alike.

Slack, Mattermost and ntfy show ``text``, and Discord shows ``content``. It must never send anything.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tuned.config.toml import shorten
from tuned.domain.news.notices import Occasion
from tuned.errors import printable

if TYPE_CHECKING:
    from tuned.protocol.experiments import ExperimentSummary
    from tuned.protocol.trials import BestView
    from tuned.storage.trials.notices import Notice

#: Discord takes 2000 characters.
_LONGEST_TEXT = 1500

#: The parameters are left out of a larger document: a program gets it as one variable first.
_MOST_BYTES = 64 * 1024


def fresh(notice: Notice, summary: ExperimentSummary) -> Notice | None:
    """The news with the trial of which people are told; None if it is none any more.

    The trial that a host took for better need not be: another program may have told a better one before.
    """
    best = summary["best"]
    if notice.occasion is not Occasion.BETTER or len(summary["directions"]) > 1:
        return replace(notice, told_trial=notice.trial)
    if best is None or notice.trial is None or best["number"] < notice.trial:
        return None
    if summary["state"] in {"done", "cancelled"} and Occasion.ENDED.is_wanted(notice.wishes.on):
        # The news of the end has the best value.
        return None
    if best["number"] == notice.told_trial:
        return None
    return replace(notice, told_trial=best["number"])


def message(notice: Notice, summary: ExperimentSummary, host: str) -> bytes:
    """The document. ``host`` is the one that sends it."""
    text = shorten(printable(_text(notice, summary["best"])), _LONGEST_TEXT)
    document: dict[str, Any] = {
        "text": text,
        "content": text,
        # Discord calls nobody, whatever a program printed.
        "allowed_mentions": {"parse": []},
        "id": notice.id,
        "event": notice.occasion.event,
        "experiment": notice.name,
        "state": summary["state"],
        "reason": notice.words,
        "time": datetime.fromtimestamp(notice.since, UTC).isoformat(timespec="seconds"),
        "host": host,
        "try": notice.tries,
        "trials": summary["trials"],
        "best": _best(summary["best"]),
    }
    encoded = json.dumps(document).encode()
    if len(encoded) > _MOST_BYTES and document["best"] is not None:
        del document["best"]["params"]
        encoded = json.dumps(document).encode()
    return encoded


def _text(notice: Notice, best: BestView | None) -> str:
    name = notice.name
    found = f"best {_value(best)}" if best is not None else "no value"
    match notice.occasion:
        case Occasion.ENDED:
            return f"{name} is over: {notice.words}; {found}"
        case Occasion.FRUITLESS:
            return f"{name} is over without a value: {notice.words}"
        case Occasion.BROKEN:
            return f"{name} is paused: {notice.words}"
        case Occasion.BETTER:
            is_of_words = best is None or best["number"] == notice.trial
            return f"{name}: a better value, {notice.words if is_of_words or best is None else _value(best)}"


def _value(best: BestView) -> str:
    values = ", ".join(f"{value:.12g}" for value in best["values"])
    return f"{values} in trial {best['number']}" + (f" on {best['host']}" if best["host"] else "")


def _best(best: BestView | None) -> dict[str, Any] | None:
    if best is None:
        return None
    return {
        "trial": best["number"],
        "values": [value if math.isfinite(value) else str(value) for value in best["values"]],
        "host": best["host"],
        "params": best["params"],
    }
