"""Time spans as systemd.time(7) writes them: ``90s``, ``1h 30min``, ``1.5h``; a bare number is seconds.

Months and years have systemd's lengths (30.44 and 365.25 days). ``infinity`` is not offered: to leave a limit
out is the way to have none.
"""

from __future__ import annotations

import math
import re

EXPECTED = 'a time span such as "90s", "1h 30min" or a number of seconds'

_NAMES_BY_SECONDS = {
    1e-6: "us usec µs μs",
    1e-3: "ms msec",
    1.0: "s sec second seconds",
    60.0: "m min minute minutes",
    3600.0: "h hr hour hours",
    86400.0: "d day days",
    604800.0: "w week weeks",
    2629800.0: "M month months",
    31557600.0: "y year years",
}

_UNITS = {name: seconds for seconds, names in _NAMES_BY_SECONDS.items() for name in names.split()}

_PART = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµμ]*)", re.ASCII)

_WRITTEN = ((604800, "w"), (86400, "d"), (3600, "h"), (60, "min"))

#: The longest span, a century: beyond it nothing here has a meaning, and clocks overflow.
_LONGEST_SECONDS = 100 * 31557600.0


def parse_span(value: object) -> float:
    """The span in seconds, 0 or more. Raises ValueError that says what is expected."""
    if isinstance(value, str):
        seconds = _parse_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # Beyond that, float() itself may fail.
        seconds = float(value) if -1 <= value <= _LONGEST_SECONDS else math.inf
    else:
        raise ValueError(EXPECTED)  # noqa: TRY004 - a value of a wrong type is refused like any other
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"{EXPECTED}, from 0 to 100 years")
    return seconds


def format_span(seconds: float) -> str:
    """The span for people, down to milliseconds: ``1h 30min``. ``parse_span`` reads it back."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{seconds} is not the length of a time span")
    rest, parts = round(seconds * 1000), []
    for length, name in _WRITTEN:
        count, rest = divmod(rest, length * 1000)
        if count:
            parts.append(f"{count}{name}")
    if rest >= 1000 or (not rest and not parts):
        count, rest = divmod(rest, 1000)
        parts.append(f"{count}s")
    if rest:
        parts.append(f"{rest}ms")
    return " ".join(parts)


def _parse_text(text: str) -> float:
    text = text.strip()
    total, position = 0.0, 0
    while position < len(text) or not position:
        part = _PART.match(text, position)
        if part is None:
            raise ValueError(EXPECTED)
        number, unit = part.groups()
        is_alone = part.span() == (0, len(text))
        if not unit and not is_alone:
            raise ValueError(EXPECTED)
        try:
            total += float(number) * (_UNITS[unit] if unit else 1.0)
        except KeyError:
            raise ValueError(f"{EXPECTED}; {unit!r} is not a unit of time") from None
        position = part.end()
    return total
