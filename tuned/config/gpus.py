"""The GPUs that this host gives out, and the words for them in the configuration.

A card is granted whole, or in shares that are never more than one together. Amounts are exact fractions. The
kernel is not asked: a grant is what a trial's CUDA_VISIBLE_DEVICES says, and programs keep to that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

VARIABLE = "CUDA_VISIBLE_DEVICES"

#: The setting ``gpus``: look, so many, or these.
Wanted = Literal["auto"] | int | tuple[str, ...]

_DEVICE = re.compile(r"nvidia(\d+)", re.ASCII)


def find(wanted: Wanted, environ: Mapping[str, str], devices: Path = Path("/dev")) -> tuple[str, ...]:
    """The ids of the cards that this host gives out; fewer than were wanted, if only so few are visible."""
    if isinstance(wanted, tuple):
        return wanted
    visible = environ.get(VARIABLE)
    if wanted == "auto":
        return _devices(devices) if visible is None else _listed(visible)
    return tuple(map(str, range(wanted))) if visible is None else _listed(visible)[:wanted]


def _listed(visible: str) -> tuple[str, ...]:
    """As CUDA reads it: what stands behind an invalid id is not visible."""
    found: list[str] = []
    for each in map(str.strip, visible.split(",")):
        if not each or each.startswith("-") or each == "NoDevFiles" or each in found:
            break
        found.append(each)
    return tuple(found)


def _devices(directory: Path) -> tuple[str, ...]:
    numbers = (match[1] for path in directory.glob("nvidia*") if (match := _DEVICE.fullmatch(path.name)))
    return tuple(sorted(numbers, key=int))
