"""The table ``[resources]`` of an experiment file: the limits of each trial."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from tuned.config.fields import Cards, Size
from tuned.config.toml import Table
from tuned.domain.resources import Limits, described, limits, parse_gpus


class Resources(Table):
    """Limits of each trial."""

    memory: Size | None = Field(
        default=None,
        description='At most so much memory: bytes, or a number with K, M, G or T in powers of 1024, as "4G" '
        'or "1.5G"; from 1M. Swap is not used beside it. Default: no limit.',
    )
    cpus: Annotated[float, Field(ge=0.01, le=100_000)] | None = Field(
        default=None, description="At most so many CPUs' time; 0.5 is half of one. Default: no limit."
    )
    pids: Annotated[int, Field(ge=1, le=2**22)] | None = Field(
        default=None, description="At most so many processes and threads at once. Default: no limit."
    )
    gpus: Cards | None = Field(
        default=None,
        description="A whole number of GPUs for each trial alone, or a part of one: with 0.5 two trials "
        "share a card. They are named in CUDA_VISIBLE_DEVICES. Default: none, and the environment is left "
        "as it is.",
    )

    @property
    def cards(self) -> Fraction | None:
        """The GPUs, exactly: whole cards, or the part of one card. None if a trial gets none of its own."""
        return None if self.gpus is None else parse_gpus(self.gpus)

    @property
    def of_group(self) -> Limits:
        """Those that its control group keeps."""
        return Limits(memory=self.memory, cpus=self.cpus, pids=self.pids)

    @property
    def limits(self) -> Mapping[str, str]:
        """The limits that are set, by the key of the file, as a person would write them."""
        return limits(memory=self.memory, cpus=self.cpus, pids=self.pids)

    def __str__(self) -> str:
        return described(memory=self.memory, cpus=self.cpus, pids=self.pids, gpus=self.gpus)
