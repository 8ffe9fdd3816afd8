"""Time spans as systemd writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuned.config.spans import format_span, parse_span

_DAY = 86400.0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        ("1h 30min", 5400),
        ("1h30min", 5400),
        (" 2 h ", 7200),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("2m", 120),
        ("1d", _DAY),
        ("1w", 7 * _DAY),
        ("1month", 30.4375 * _DAY),
        ("1M", 30.4375 * _DAY),
        ("1y", 365.25 * _DAY),
        ("1 hour 1 minute 1 second", 3661),
        (0, 0),
    ],
)
def test_a_span_is_read_as_systemd_reads_it(written: object, seconds: float) -> None:
    assert parse_span(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "  ",
        "h",
        "-1s",
        "1h-",
        "90 90",
        "1h 30",
        "30 1h",
        "1 fortnight",
        "infinity",
        "1e3",
        "99999y",
        "٣s",
        -1,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        10**400,
    ],
)
def test_what_is_no_span_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="1h 30min"):
        parse_span(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (90, "1min 30s"), (5400, "1h 30min"), (0.5, "500ms"), (8 * _DAY, "1w 1d"), (60, "1min")],
)
def test_a_span_is_written_for_people(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


@given(st.integers(0, 10**11))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_span(format_span(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_only_a_length_of_time_is_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="not the length"):
        format_span(seconds)
