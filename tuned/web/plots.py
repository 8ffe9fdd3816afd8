"""Charts over all trials of a study: importance, parallel coordinates, the front. In a thread of their own.

A trial with a value is read once. With many of them, charts are made of some, evenly, with the best
among them.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from markupsafe import Markup
from optuna.distributions import CategoricalDistribution
from optuna.importance import get_param_importances
from optuna.trial import create_trial

from tuned.domain.counts import counted
from tuned.storage.queries.points import Evaluated, evaluated
from tuned.web import charts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuned.protocol.fields import DirectionName
    from tuned.storage.database import Database
    from tuned.web.reader import Detail, Experiment

#: Of so many trials the importances are made, and so many lines has a chart.
MOST_WEIGHED, MOST_THREADS, MOST_DOTS = 1000, 200, 600

#: The first view of a page waits no longer for its charts: they come when they are drawn.
PATIENCE_SECONDS = 0.3

#: More axes cannot be read.
_MOST_AXES = 8

_MOST_STUDIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plots:
    """Charts of one moment; each is empty if the trials do not give one."""

    #: By objective and parameter, the most important first.
    importances: list[dict[str, float]]
    weighed: int
    evaluated: int
    importance: list[Markup]
    parallel: Markup
    front: Markup


@dataclass(slots=True)
class _Study:
    points: dict[int, Evaluated] = field(default_factory=dict)
    mark: object = None
    drawn: Future[Plots] | None = None
    last: Plots | None = None


class Painter:
    """Remembers the trials of the studies that people look at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="painter")
        self._studies: dict[str, _Study] = {}

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def plots(
        self, found: Experiment, detail: Detail, *, patience: float | None = PATIENCE_SECONDS
    ) -> Plots | None:
        """As they are now, or while new ones are drawn the last ones; None if there are none yet."""
        study = self._study(found.mark.name)
        # Trials that begin or run change no chart: the next drawing begins when the last one is over.
        mark = (found.mark.study_id, found.summary["counts"]["complete"], found.summary["counts"]["reused"])
        if study.mark != mark and (study.drawn is None or study.drawn.done()):
            study.mark = mark
            front = {each["number"] for each in detail.bests["best"]}
            study.drawn = self._thread.submit(
                self._draw, study, found.mark.study_id, found.summary["directions"], front
            )
        if study.drawn is not None and not (study.last is not None and patience is not None):
            done, _ = await asyncio.wait([asyncio.wrap_future(study.drawn)], timeout=patience)
            for each in done:
                each.result()
        return study.last

    def _study(self, name: str) -> _Study:
        study = self._studies.pop(name, None) or _Study()
        self._studies[name] = study
        while len(self._studies) > _MOST_STUDIES:
            del self._studies[next(iter(self._studies))]
        return study

    def _draw(
        self, study: _Study, study_id: int, directions: Sequence[DirectionName], front: set[int]
    ) -> Plots:
        try:
            study.points |= evaluated(self._database, study_id, study.points)
            study.last = _plots(list(study.points.values()), directions, front)
        except Exception:
            # It is drawn again at the next look.
            study.mark = None
            raise
        return study.last


def _plots(points: Sequence[Evaluated], directions: Sequence[DirectionName], front: set[int]) -> Plots:
    finite = [each for each in points if each.values and all(map(math.isfinite, each.values))]
    losses = [
        {each.number: each.values[place] * (-1 if word == "maximize" else 1) for each in finite}
        for place, word in enumerate(directions)
    ]
    weighed = thinned(finite, MOST_WEIGHED, losses[0])
    importances = [_importances(weighed, of) for of in losses]
    names = ["value"] if len(directions) == 1 else [f"value {place}" for place in range(len(directions))]
    return Plots(
        importances=importances,
        weighed=len(weighed),
        evaluated=len(points),
        importance=[
            charts.bars(of, f"Importance of parameters for {name}")
            for of, name in zip(importances, names, strict=True)
        ],
        parallel=_parallel(names[0], thinned(finite, MOST_THREADS, losses[0]), losses[0], importances[0]),
        front=_front(finite, front) if len(directions) == 2 else Markup(),
    )


def thinned(points: Sequence[Evaluated], most: int, losses: Mapping[int, float]) -> list[Evaluated]:
    """At most so many, half of them the best and the rest evenly, in the order of their numbers."""
    if len(points) <= most:
        return list(points)
    best = sorted(points, key=lambda each: losses[each.number])[: most // 2]
    rest = most - len(best)
    evenly = [points[index * (len(points) - 1) // (rest - 1)] for index in range(rest)]
    return sorted({each.number: each for each in [*best, *evenly]}.values(), key=lambda each: each.number)


def _importances(points: Sequence[Evaluated], losses: Mapping[int, float]) -> dict[str, float]:
    if len({losses[each.number] for each in points}) < 2:
        return {}
    study = optuna.create_study()
    study.add_trials(
        [
            create_trial(
                params=dict(each.params), distributions=dict(each.distributions), value=losses[each.number]
            )
            for each in points
        ]
    )
    try:
        found = get_param_importances(study)
    except (ValueError, RuntimeError, ZeroDivisionError):
        # Of too few trials, or of parameters that have one value only.
        return {}
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _parallel(
    value: str, points: Sequence[Evaluated], losses: Mapping[int, float], importances: Mapping[str, float]
) -> Markup:
    if len(points) < 2:
        return Markup()
    names = sorted(
        {name for each in points for name in each.params}, key=lambda name: -importances.get(name, 0.0)
    )
    shown = names[: _MOST_AXES - 1]
    value_axis = _number_axis(value, [each.values[0] for each in points])
    axes = [value_axis, *(_axis(name, points) for name in shown)]
    order = {
        number: place
        for place, number in enumerate(sorted((p.number for p in points), key=losses.__getitem__))
    }
    ranks = [order[each.number] / max(1, len(points) - 1) for each in points]
    parameters = counted(len(shown), "parameter")
    title = f"Parallel coordinates of {counted(len(points), 'trial')}: {value} and {parameters}"
    return charts.parallel(axes, ranks, title)


def _axis(name: str, points: Sequence[Evaluated]) -> charts.Axis:
    values = [each.params.get(name) for each in points]
    distribution = next(each.distributions[name] for each in points if name in each.distributions)
    if isinstance(distribution, CategoricalDistribution) or not all(
        value is None or isinstance(value, int | float) for value in values
    ):
        words = list(dict.fromkeys(repr_of(value) for value in values if value is not None))
        places = {word: float(place) for place, word in enumerate(words)}
        return charts.Axis(
            name,
            [None if value is None else places[repr_of(value)] for value in values],
            [(place, word) for word, place in places.items()],
        )
    return _number_axis(
        name,
        [None if value is None else float(value) for value in values],
        is_log=bool(getattr(distribution, "log", False)),
    )


def _number_axis(name: str, values: Sequence[float | None], *, is_log: bool = False) -> charts.Axis:
    known = [each for each in values if each is not None]
    low, high = min(known), max(known)
    return charts.Axis(
        name, values, [(low, charts.text_of(low)), (high, charts.text_of(high))], is_log and low > 0
    )


def repr_of(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _front(points: Sequence[Evaluated], front: set[int]) -> Markup:
    rest = [each for each in points if each.number not in front]
    step = max(1, len(rest) // MOST_DOTS)
    shown = [*rest[::step], *(each for each in points if each.number in front)]
    dots = [
        charts.Spot(each.values[0], each.values[1], f"trial {each.number}", is_marked=each.number in front)
        for each in shown
    ]
    title = f"Front: {len(front)} of {counted(len(points), 'trial')}"
    return charts.scatter(dots, title, ("value 0", "value 1"))
