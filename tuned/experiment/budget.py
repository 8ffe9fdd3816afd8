"""The table ``[budget]`` of an experiment file: when the search is over."""

from __future__ import annotations

from pydantic import Field

from tuned.config.fields import Span, StoredCount
from tuned.config.toml import Table


class Budget(Table):
    """The end of the experiment, over the whole fleet."""

    trials: StoredCount | None = Field(
        default=None,
        description="So many trials: evaluated, reused, skipped and failed ones count, aborted and lost "
        "ones and crashes before the first value do not.",
    )
    evaluations: StoredCount | None = Field(
        default=None, description="So many processes that ended by themselves, each retry counted."
    )
    time: Span | None = Field(
        default=None,
        description='Nothing starts later than this after the first claim, as "8h"; a number is seconds.',
    )
