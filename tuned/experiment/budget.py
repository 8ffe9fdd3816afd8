"""The table ``[budget]`` of an experiment file: when the search is over.

It must never know how many objectives there are: ``conflicting`` is told.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from tuned.config.fields import Span, StoredCount
from tuned.config.toml import Table, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NUMBERS = "a finite number, or an array of finite numbers"


def _numbers(value: object) -> tuple[float, ...]:
    several: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    numbers = [float(each) for each in several if type(each) in {int, float} and math.isfinite(each)]
    return tuple(numbers) if len(numbers) == len(several) > 0 else refuse(_NUMBERS)


def _at_least_zero(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return numbers if min(numbers) >= 0 else refuse("at least 0", f"{min(numbers):g}")


def _as_written(numbers: tuple[float, ...]) -> float | tuple[float, ...]:
    return numbers[0] if len(numbers) == 1 else numbers


#: One for each objective. A single number is written without brackets.
Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(_numbers),
    PlainSerializer(_as_written),
    WithJsonSchema(
        {
            "title": "a number, or an array of numbers",
            "anyOf": [
                {"type": "number"},
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
            ],
        }
    ),
]


class Budget(Table):
    """The end of the experiment, over the whole fleet."""

    trials: StoredCount | None = Field(
        default=None,
        description="So many trials: evaluated, reused, skipped and failed ones count, aborted and lost "
        "ones and crashes before the first value do not.",
    )
    evaluations: StoredCount | None = Field(
        default=None,
        description="So many processes that ended by themselves, each retry and each replicate counted.",
    )
    time: Span | None = Field(
        default=None,
        description='Nothing starts later than this after the first claim, as "8h"; a number is seconds.',
    )
    target: Numbers | None = Field(
        default=None,
        description="The search ends as soon as a COMPLETE trial has a value that is as good as this or "
        "better. With several objectives an array, which one trial must reach whole.",
    )
    stalled: StoredCount | None = Field(
        default=None,
        description="The search ends after so many evaluated trials in a row without a better value; with "
        "several objectives, without a change of the Pareto front.",
    )
    min_delta: Annotated[Numbers, AfterValidator(_at_least_zero)] | None = Field(
        default=None,
        description="A value is better for `stalled` if it is better by more than this. With several "
        "objectives one number for all, or an array. Default: 0.",
    )
    when_over: Literal["finish", "abort"] = Field(
        default="finish",
        description="What happens to the trials that still run when a target, `stalled`, the time or a "
        "trial ends the search: they finish, or they are killed, not charged and their points free.",
    )

    def conflicting(self, objectives: int | None) -> Iterator[tuple[str, str, str]]:
        """Keys that do not fit the others: the key, what was found, and what is expected.

        ``objectives`` is None if their number is not known.
        """
        if self.min_delta is not None and self.stalled is None:
            yield "min_delta", "no stalled beside it", "it only with stalled"
        if objectives is None:
            return
        numbers = f"{objectives} numbers, one for each objective" if objectives > 1 else "one number"
        if self.target is not None and len(self.target) != objectives:
            yield "target", f"{len(self.target)} of them", numbers
        if self.min_delta is not None and len(self.min_delta) not in {1, objectives}:
            yield "min_delta", f"{len(self.min_delta)} of them", numbers
