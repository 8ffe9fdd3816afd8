"""The hours in which a host works: times of the day in its own local time, maybe on some days only.

It owns their text and their arithmetic, and must never read a clock. The wall clock decides, so a change to
or from summer time makes a span shorter or longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Self

EXPECTED = 'hours such as "22:00-07:00" or "Mon-Fri 22:00-07:00", or an array of them'

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY = f"(?:{'|'.join(_DAYS)})"

_SPAN = re.compile(
    rf"(?:({_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*) )?(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII
)

_DAY_MINUTES = 24 * 60

#: Spans repeat after a week, or after two if a change to summer time takes one of them out.
_HORIZON = timedelta(days=15)

#: Clocks are put forward or back at a half hour of UTC.
_STEP_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One of the spans; it belongs to the day on which it begins."""

    #: From 0, Monday.
    days: frozenset[int]
    #: Minutes of that day; the end may be on the next one.
    begin: int
    end: int

    def has(self, day: date, minute: int) -> bool:
        """Whether a minute of a day lies in it."""
        yesterday = (day.weekday() - 1) % 7
        is_of_today = day.weekday() in self.days and self.begin <= minute < self.end
        return is_of_today or (yesterday in self.days and minute + _DAY_MINUTES < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which a host works or does not, in seconds since the epoch; None: it has no such end."""

    is_open: bool
    since: float | None
    until: float | None


@dataclass(frozen=True, slots=True)
class Hours:
    """Spans of local time, and their texts. Without one, a host works always."""

    texts: tuple[str, ...] = ()
    _spans: tuple[_Span, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Raises ValueError that says what is expected."""
        return cls(tuple(texts), tuple(map(_parsed, texts)))

    def at(self, now: float, zone: tzinfo | None = None) -> Stretch:
        """The stretch in which a moment lies. The zone is the system's unless there is one."""
        is_open = self._is_open(now, zone)
        moments = sorted(self._moments(now, zone)) if self._spans else []
        changed = (each for each in moments if each > now and self._is_open(each, zone) != is_open)
        return Stretch(is_open=is_open, since=self._begin(now, zone, moments), until=next(changed, None))

    def _begin(self, now: float, zone: tzinfo | None, moments: Sequence[float]) -> float | None:
        begin, is_open = None, self._is_open(now, zone)
        for moment in reversed([each for each in moments if each <= now]):
            if self._is_open(moment, zone) != is_open:
                return begin
            begin = moment
        return None

    def _is_open(self, moment: float, zone: tzinfo | None) -> bool:
        local = datetime.fromtimestamp(moment, zone)
        minute = local.hour * 60 + local.minute
        return not self._spans or any(span.has(local.date(), minute) for span in self._spans)

    def _moments(self, now: float, zone: tzinfo | None) -> Iterator[float]:
        """All at which it may change, from some days ago to some days ahead."""
        first = datetime.fromtimestamp(now, zone).date() - _HORIZON
        for days in range(2 * _HORIZON.days + 1):
            midnight = datetime.combine(first + timedelta(days=days), time(), zone)
            for minute in {edge for span in self._spans for edge in (span.begin, span.end)}:
                wall = midnight + timedelta(minutes=minute)
                # An hour that comes twice has each of its minutes twice.
                yield from {wall.timestamp(), wall.replace(fold=1).timestamp()}
        begin = int((now - _HORIZON.total_seconds()) // _STEP_SECONDS)
        for step in range(begin, begin + int(2 * _HORIZON.total_seconds()) // _STEP_SECONDS):
            yield float(step * _STEP_SECONDS)


ALWAYS = Hours()


def _parsed(text: str) -> _Span:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(EXPECTED)
    begin, end = (60 * int(match[group]) + int(match[group + 1]) for group in (2, 4))
    if begin >= _DAY_MINUTES or end > _DAY_MINUTES or int(match[3]) > 59 or int(match[5]) > 59:
        raise ValueError(f"{EXPECTED}; times go from 00:00 to 24:00")
    if begin == end:
        raise ValueError(f"{EXPECTED}; a whole day is 00:00-24:00")
    return _Span(
        days=frozenset(_days(match[1]) if match[1] else range(7)),
        begin=begin,
        end=end if end > begin else end + _DAY_MINUTES,
    )


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        # Sat-Mon goes over the end of the week.
        yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))
