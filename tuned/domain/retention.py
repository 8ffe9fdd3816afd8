"""Which output and checkpoints of experiments that have ended go, by their age and by the room they take.

It must never look at a disk or a clock: it is told what lies where, and what has ended since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """The two kinds of directories that trials leave something in."""

    #: One for each trial: its log, and its own working directory.
    OUTPUT = "output"
    #: One for each point: ``TUNED_POINT_DIR``, which outlives its trials.
    CHECKPOINTS = "checkpoints"


class Rule(StrEnum):
    """Why something goes."""

    #: Its experiment ended longer ago than it is to be kept.
    AGE = "age"
    #: All together takes more room than it may.
    SIZE = "size"
    #: A person asked for it.
    ASKED = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long and how much is kept; None for no limit."""

    output_seconds: float | None = None
    checkpoints_seconds: float | None = None
    size_bytes: int | None = None

    @property
    def has_limits(self) -> bool:
        return self != Keep()

    def seconds(self, part: Part) -> float | None:
        return self.output_seconds if part is Part.OUTPUT else self.checkpoints_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The directory of one trial or of one point, with all that is in it."""

    #: Of its study.
    uid: str
    part: Part
    #: The trial's number, or the point's key.
    name: str
    size_bytes: int
    #: Seconds since 1970, by this host's clock.
    modified: float


def chosen(
    holdings: Iterable[Holding], ended_seconds: Mapping[str, float], keep: Keep
) -> list[tuple[Holding, Rule]]:
    """All that is to go, in the order in which it goes.

    ``ended_seconds`` says by the study's uid how long ago it ended. One that is not in it keeps everything,
    but what it has counts for the size.
    """
    found = list(holdings)
    # Of the study that ended first, the oldest first.
    ended = sorted(
        (each for each in found if each.uid in ended_seconds),
        key=lambda each: (-ended_seconds[each.uid], each.uid, each.modified),
    )
    going = [(each, Rule.AGE) for each in ended if _is_old(each, ended_seconds[each.uid], keep)]
    if keep.size_bytes is None:
        return going
    gone = {each for each, _ in going}
    surplus = sum(each.size_bytes for each in found if each not in gone) - keep.size_bytes
    for each in ended:
        if surplus <= 0:
            break
        if each not in gone:
            going.append((each, Rule.SIZE))
            surplus -= each.size_bytes
    return going


def _is_old(holding: Holding, ended_seconds: float, keep: Keep) -> bool:
    limit = keep.seconds(holding.part)
    return limit is not None and ended_seconds > limit
