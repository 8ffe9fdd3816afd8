"""Hours of work: their text, and when they begin and end, also in nights in which clocks are changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuned.config.hours import Hours, Stretch

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def shown(stretch: Stretch, zone: ZoneInfo = BERLIN) -> tuple[bool, str, str]:
    """Whether it is open, since and until when."""
    ends = [
        "" if each is None else f"{datetime.fromtimestamp(each, zone):%a %H:%M}"
        for each in (stretch.since, stretch.until)
    ]
    return stretch.is_open, ends[0], ends[1]


def at(hours: str | list[str], when: str, *, fold: int = 0) -> tuple[bool, str, str]:
    texts = [hours] if isinstance(hours, str) else hours
    return shown(Hours.parse(texts).at(moment(when, fold=fold), BERLIN))


@pytest.mark.parametrize(
    ("hours", "when", "expected"),
    [
        ("22:00-07:00", "2026-06-03 23:15", (True, "Wed 22:00", "Thu 07:00")),
        ("22:00-07:00", "2026-06-04 06:59", (True, "Wed 22:00", "Thu 07:00")),
        ("22:00-07:00", "2026-06-04 07:00", (False, "Thu 07:00", "Thu 22:00")),
        ("09:00-17:30", "2026-06-04 08:59", (False, "Wed 17:30", "Thu 09:00")),
        ("Mon-Fri 22:00-07:00", "2026-06-06 06:00", (True, "Fri 22:00", "Sat 07:00")),
        ("Mon-Fri 22:00-07:00", "2026-06-06 23:00", (False, "Sat 07:00", "Mon 22:00")),
        ("Sat,Sun 00:00-24:00", "2026-06-07 12:00", (True, "Sat 00:00", "Mon 00:00")),
        ("Sat-Mon 12:00-13:00", "2026-06-08 12:30", (True, "Mon 12:00", "Mon 13:00")),
        (["22:00-24:00", "00:00-07:00"], "2026-06-03 23:15", (True, "Wed 22:00", "Thu 07:00")),
        (["20:00-23:00", "22:00-02:00"], "2026-06-03 21:00", (True, "Wed 20:00", "Thu 02:00")),
        ("Tue 10:00-10:01", "2026-06-04 00:00", (False, "Tue 10:01", "Tue 10:00")),
    ],
)
def test_a_moment_lies_in_a_stretch_that_is_open_or_not(
    hours: str | list[str], when: str, expected: tuple[bool, str, str]
) -> None:
    assert at(hours, when) == expected


@pytest.mark.parametrize("hours", [[], ["00:00-24:00"], ["00:00-12:00", "12:00-24:00"]])
def test_hours_that_leave_nothing_out_have_no_end(hours: list[str]) -> None:
    assert at(hours, "2026-06-03 12:00") == (True, "", "")


def test_a_night_in_which_clocks_are_put_forward_is_an_hour_shorter() -> None:
    # On 29 March, 02:00 is followed by 03:00.
    stretch = Hours.parse(["22:00-07:00"]).at(moment("2026-03-29 01:30"), BERLIN)
    assert shown(stretch) == (True, "Sat 22:00", "Sun 07:00")
    assert stretch.until == moment("2026-03-28 22:00") + 8 * 3600
    assert at("22:00-02:30", "2026-03-29 01:59") == (True, "Sat 22:00", "Sun 03:00")
    assert at("02:30-05:00", "2026-03-29 01:59") == (False, "Sat 05:00", "Sun 03:00")


def test_an_hour_that_comes_twice_is_open_both_times() -> None:
    # On 25 October, 02:59 is followed by 02:00.
    hours = Hours.parse(["22:00-07:00"])
    for fold in (0, 1):
        assert shown(hours.at(moment("2026-10-25 02:30", fold=fold), BERLIN)) == (
            True,
            "Sat 22:00",
            "Sun 07:00",
        )
    assert hours.at(moment("2026-10-25 02:30"), BERLIN).until == moment("2026-10-24 22:00") + 10 * 3600
    assert at("22:00-02:30", "2026-10-25 02:29") == (True, "Sat 22:00", "Sun 02:30")
    assert at("22:00-02:30", "2026-10-25 02:29", fold=1) == (True, "Sun 02:00", "Sun 02:30")


SOME = ("22:00-07:00", "Sat 01:15-02:45", "Mon-Fri 12:30-13:00", "02:30-03:30")


@given(
    st.lists(st.sampled_from(SOME), min_size=1),
    st.integers(int(moment("2026-03-20")), int(moment("2026-11-05"))),
)
def test_within_a_stretch_nothing_changes_and_beyond_it_all_does(texts: list[str], now: int) -> None:
    hours = Hours.parse(texts)
    stretch = hours.at(now, BERLIN)
    assert stretch.since is not None
    assert stretch.until is not None
    assert stretch.since <= now < stretch.until
    assert hours.at(stretch.until - 1, BERLIN) == hours.at(stretch.since, BERLIN) == stretch
    assert hours.at(stretch.until, BERLIN).is_open is not stretch.is_open
    assert hours.at(stretch.since - 1, BERLIN).is_open is not stretch.is_open


def test_without_a_zone_it_is_the_systems() -> None:
    now = datetime.now().astimezone().replace(hour=12, minute=0)
    begin, end = (f"{now + timedelta(hours=each):%H:%M}" for each in (-1, 1))
    assert Hours.parse([f"{begin}-{end}"]).at(now.timestamp()).is_open
    assert not Hours.parse([f"{end}-{begin}"]).at(now.timestamp()).is_open


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("22-7", "hours such as"), ("22:00", "hours such as"), ("Mon", "hours such as"),
        ("", "hours such as"),
        ("mon 22:00-07:00", "hours such as"), ("Mon-Foo 22:00-07:00", "hours such as"),
        ("22:00-07:00 ", "hours such as"), ("٢٢:00-07:00", "hours such as"),
        ("22:60-07:00", "times go from 00:00 to 24:00"), ("24:00-07:00", "times go from 00:00 to 24:00"),
        ("22:00-24:01", "times go from 00:00 to 24:00"), ("07:00-07:00", "a whole day is 00:00-24:00"),
    ],
)  # fmt: skip
def test_odd_hours_are_refused_with_an_example(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Hours.parse([text])
