"""The resources of a trial, as they are written and read."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuned.domain.resources import described, format_size, limits, parse_gpus, parse_size, rounded_size


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (2**20, 2**20),
        ("1M", 2**20),
        ("2048K", 2**21),
        ("4G", 2**32),
        ("1.5G", 3 * 2**29),
        ("2T", 2**41),
        (" 1048577 ", 2**20 + 1),
    ],
)
def test_sizes_are_in_powers_of_1024(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    [0, 4, "4", "1023K", "-4G", "4g", "4GB", "4 G", "1e9", "", "G", True, 4.0, None, 2**63, "9" * 25],
)
def test_what_is_no_size_is_refused_with_what_is_expected(written: object) -> None:
    with pytest.raises(ValueError, match='such as "4G", from 1M'):
        parse_size(written)


@given(st.integers(2**20, 2**62))
def test_a_size_is_read_back_as_it_was(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("written", "cards"),
    [(1, 1), (1.0, 1), (8, 8), (0.5, Fraction(1, 2)), (0.1, Fraction(1, 10)), (1e-7, Fraction(1, 10**7))],
)
def test_cards_are_what_is_written_in_decimal(written: float, cards: Fraction) -> None:
    assert parse_gpus(written) == cards


@pytest.mark.parametrize("written", [0, -1, -0.5, 1.5, 2.0000001])
def test_a_part_of_several_cards_is_refused(written: float) -> None:
    with pytest.raises(ValueError, match="a part of one"):
        parse_gpus(written)


def test_what_is_not_set_is_not_said() -> None:
    assert described(memory=None, cpus=None, pids=None, gpus=None) == ""
    assert described(memory=2**30, cpus=None, pids=None, gpus=0.5) == "memory 1G, gpus 0.5"
    assert limits(memory=None, cpus=0.5, pids=64) == {"cpus": "0.5", "pids": "64"}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1.0K"), (1536, "1.5K"), (20 * 2**30, "20G"), (5 * 2**50, "5120T")],
)
def test_a_rounded_size_is_short(size: int, text: str) -> None:
    assert rounded_size(size) == text
