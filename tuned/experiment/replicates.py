"""The table ``[replicates]`` of an experiment file: how often a point is evaluated in one trial."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuned.config.toml import Table

#: More would not fit among a trial's intermediate values.
MOST_REPLICATES = 1000


class Replicates(Table):
    """Several evaluations of each point in one trial, one after the other; their values become one."""

    count: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] = Field(
        default=1, description="So many evaluations of each point, each charged to the budget."
    )
    reduce: Literal["mean", "median", "min", "max"] = Field(
        default="mean", description="What becomes of their values, for each objective and constraint."
    )
