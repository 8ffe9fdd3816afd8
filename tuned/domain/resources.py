"""The limits of each trial of an experiment: memory, CPU time, processes and GPUs.

It must never know the control groups that enforce the limits, or the pool that assigns the GPUs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

SIZE_EXPECTED = 'bytes, or a number with K, M, G or T such as "4G", from 1M'

#: No program starts with less memory.
_LEAST_BYTES = 2**20

_MOST_BYTES = 2**62

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,9})?)([KMGT]?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Resources that this host cannot give to an experiment's trials, for people; empty if it can."""

    #: Why none can run here.
    missing: str = ""
    #: Which limits are not kept, and why.
    unenforced: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that a control group keeps; None is no limit."""

    #: Bytes.
    memory: int | None = None
    #: CPUs' time.
    cpus: float | None = None
    #: Processes and threads at once.
    pids: int | None = None


UNLIMITED = Limits()


def limits(*, memory: int | None, cpus: float | None, pids: int | None) -> dict[str, str]:
    """The limits that are set, by the key of the file, as a person would write them; memory is in bytes."""
    found = {}
    if memory is not None:
        found["memory"] = format_size(memory)
    if cpus is not None:
        found["cpus"] = f"{cpus:g}"
    if pids is not None:
        found["pids"] = str(pids)
    return found


def described(*, memory: int | None, cpus: float | None, pids: int | None, gpus: float | None) -> str:
    """The limits and the GPUs of each trial in one line; empty if there are none."""
    cards = {} if gpus is None else {"gpus": f"{gpus:g}"}
    each = {**limits(memory=memory, cpus=cpus, pids=pids), **cards}
    return ", ".join(f"{key} {text}" for key, text in each.items())


def parse_size(value: object) -> int:
    """The size in bytes. Raises ValueError with the expected form."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        value = int(Fraction(match[1]) * _UNITS[match[2]])
    if isinstance(value, bool) or not isinstance(value, int) or not _LEAST_BYTES <= value <= _MOST_BYTES:
        raise ValueError(SIZE_EXPECTED)
    return value


def format_size(size: int) -> str:
    """The size in the largest unit that expresses it exactly. ``parse_size`` reads it back."""
    unit = max((unit for unit, bytes_ in _UNITS.items() if size % bytes_ == 0), key=_UNITS.__getitem__)
    return f"{size // _UNITS[unit]}{unit}"


def rounded_size(size: int) -> str:
    """The size for people, to two digits or to a whole number: ``1.4G``."""
    unit = max((unit for unit, bytes_ in _UNITS.items() if bytes_ <= max(size, 1)), key=_UNITS.__getitem__)
    value = size / _UNITS[unit]
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"


def parse_gpus(value: float) -> Fraction:
    """The cards, exactly as they are written in decimal. Raises ValueError with the expected form."""
    cards = Fraction(repr(value))
    if cards <= 0 or (cards > 1 and cards.denominator != 1):
        raise ValueError("a whole number of GPUs, or a part of one such as 0.5")
    return cards
