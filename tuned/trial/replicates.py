"""The replicates of one trial: its point is evaluated several times, and their values become one.

It must never start a process: it is given the way to evaluate once, and to charge one more evaluation.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from tuned.domain.ending import NAN, NAN_CONSTRAINT, Cause, Ending, EndState, Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tuned.experiment.replicates import Replicates


async def replicated(
    plan: Replicates,
    evaluate: Callable[[int], Awaitable[Ending]],
    charge: Callable[[], Awaitable[bool]],
    on_value: Callable[[int, tuple[float, ...]], object],
    endings: list[Ending],
) -> Ending:
    """Evaluates the replicates that follow, until one has no value or the budget of evaluations ends.

    The first of them is charged already. ``endings`` has those before, and gets theirs. ``on_value`` hears of
    each that has values.
    """
    for number, earlier in enumerate(endings, 1):
        on_value(number, earlier.values or ())
    first = len(endings) + 1
    for number in range(first, plan.count + 1):
        if number > first and not await charge():
            break
        ending = await evaluate(number)
        endings.append(ending)
        if ending.state is not EndState.COMPLETE:
            break
        on_value(number, ending.values or ())
    return combined(plan, endings)


def combined(plan: Replicates, endings: Sequence[Ending]) -> Ending:
    """The ending of the trial; only the last of the endings may be one without a value."""
    measured = tuple(ending.values or () for ending in endings if ending.state is EndState.COMPLETE)
    last = endings[-1]
    constraints, unknown = _constraints(plan, endings)
    values, failure = None, last.failure and _of_replicate(len(endings), last.failure)
    if last.is_pruned:
        # Its last report is the last value, as that of any pruned trial.
        values = measured[-1] if measured else None
    elif failure is None:
        values, failure = _reduced(plan, measured)
        if failure is None and unknown is not None:
            values, failure = None, unknown
    return Ending(
        values=values,
        failure=failure,
        is_pruned=last.is_pruned,
        pruning=last.pruning,
        stops_search=any(ending.stops_search for ending in endings),
        user_attrs={name: text for ending in endings for name, text in ending.user_attrs.items()},
        constraints=constraints,
        retried=tuple(
            _of_replicate(number, each) for number, ending in enumerate(endings, 1) for each in ending.retried
        ),
        replicates=measured,
        begun=len(endings),
        ended=last.ended,
    )


def _reduced(
    plan: Replicates, measured: Sequence[tuple[float, ...]]
) -> tuple[tuple[float, ...] | None, Failure | None]:
    values = tuple(reduction(plan.reduce, objective) for objective in zip(*measured, strict=True))
    if not any(map(math.isnan, values)):
        return values, None
    message = f"the {plan.reduce} of its replicates is NaN"
    return None, Failure(cause=Cause.NO_VALUE, message=message, detail=dict(NAN))


def reduction(how: str, values: Sequence[float]) -> float:
    """One value of several; NaN if infinities contradict each other."""
    match how:
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "median":
            # The mean of the two in the middle, without an overflow of their sum.
            return _mean([statistics.median_low(values), statistics.median_high(values)])
        case _:
            return _mean(values)


def _mean(values: Sequence[float]) -> float:
    # Exact, so that neither rounding nor an overflow on the way counts.
    return float(statistics.mean(values))


def _constraints(plan: Replicates, endings: Sequence[Ending]) -> tuple[dict[str, float], Failure | None]:
    """Each over the replicates that have it; a failure if one has no value."""
    by_name: Mapping[str, list[float]] = defaultdict(list)
    for ending in endings:
        for name, value in ending.constraints.items():
            by_name[name].append(value)
    reduced = {name: reduction(plan.reduce, values) for name, values in by_name.items()}
    kept = {name: value for name, value in reduced.items() if not math.isnan(value)}
    unknown = next((name for name in reduced if name not in kept), None)
    if unknown is None:
        return kept, None
    message = f"constraint {unknown!r}: the {plan.reduce} of its replicates is NaN"
    return kept, Failure(cause=Cause.NO_VALUE, message=message, detail=dict(NAN_CONSTRAINT))


def _of_replicate(number: int, failure: Failure) -> Failure:
    return replace(
        failure,
        message=f"replicate {number}: {failure.message}",
        detail={**failure.detail, "replicate": number},
    )
