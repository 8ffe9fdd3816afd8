"""Plots as text, for terminals: dots of Braille, or ASCII if the terminal has no Unicode."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uniplot
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tuned.domain.counts import counted
from tuned.plots.figures import require_fit, value_names
from tuned.protocol.plots import PlotKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import optuna
    from optuna.trial import FrozenTrial

#: Beside the field are the numbers of its axis.
_MARGIN = 14
_LEAST_WIDTH = 20
_HEIGHT = 15

_PLAIN_FRAME = str.maketrans("│─┌┐└┘", "|-++++")

#: One for each curve, if there are no dots.
_LETTERS = "+x*o#%@=&$abcdefghij"

#: Of a terminal's lines no more can be told apart.
MOST_CURVES = len(_LETTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """The room that a text has, and its letters."""

    columns: int
    is_ascii: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    title: str
    x_axis: str
    xs: list[list[float]]
    ys: list[list[float]]
    lines: list[bool]
    is_log: bool = False


def text(study: optuna.Study, kinds: Sequence[PlotKind], screen: Screen) -> str:
    """The plots below each other. Raises TunedError if one does not fit the study."""
    require_fit(study, kinds)
    series = [each for kind in kinds for each in _SERIES[kind](study)]
    return "\n".join(_drawn(each, screen) for each in series)


def _drawn(series: _Series, screen: Screen) -> str:
    plot = uniplot.plot_to_string(
        xs=series.xs,
        ys=series.ys,
        lines=series.lines,
        title=_cut(series.title, screen),
        width=max(screen.columns - _MARGIN, _LEAST_WIDTH),
        height=_HEIGHT,
        character_set="ascii" if screen.is_ascii else "braille",
        force_ascii_characters=list(_LETTERS),
        color=False,
        x_as_log=series.is_log,
        x_gridlines=[],
        y_gridlines=[],
    )
    shown = f"{plot}\n{_cut(series.x_axis, screen):^{screen.columns}}".rstrip() + "\n"
    return shown.translate(_PLAIN_FRAME) if screen.is_ascii else shown


def _cut(text: str, screen: Screen) -> str:
    plain = text.encode("ascii", "backslashreplace").decode() if screen.is_ascii else text
    return plain if len(plain) <= screen.columns else f"{plain[: screen.columns - 3]}..."


def _history(study: optuna.Study) -> Iterator[_Series]:
    for objective, name in enumerate(value_names(study)):
        pairs = [(trial.number, trial.values[objective]) for trial in _finite(study, objective)]
        numbers = [float(number) for number, _ in pairs]
        values = [value for _, value in pairs]
        better = min if study.directions[objective] is StudyDirection.MINIMIZE else max
        best = list(itertools.accumulate(values, better))
        yield _Series(
            title=f"{name} of each trial, and the best so far",
            x_axis="trial",
            xs=[numbers, numbers],
            ys=[values, best],
            lines=[False, True],
        )


def _slice(study: optuna.Study) -> Iterator[_Series]:
    for objective, value in enumerate(value_names(study)):
        trials = _finite(study, objective)
        for name in sorted({name for trial in trials for name in trial.params}):
            having = [trial for trial in trials if name in trial.params]
            distribution = having[0].distributions[name]
            yield _Series(
                title=f"{value} by {name}",
                x_axis=_axis(name, distribution),
                xs=[[_number(trial, name) for trial in having]],
                ys=[[trial.values[objective] for trial in having]],
                lines=[False],
                is_log=isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log,
            )


def _axis(name: str, distribution: object) -> str:
    if isinstance(distribution, CategoricalDistribution):
        choices = ", ".join(f"{place}: {choice}" for place, choice in enumerate(distribution.choices))
        return f"{name} ({choices})"
    return name


def _number(trial: FrozenTrial, name: str) -> float:
    """A value as a number; the place of a choice among its choices."""
    return float(trial.distributions[name].to_internal_repr(trial.params[name]))


def _front(study: optuna.Study) -> Iterator[_Series]:
    trials = _finite(study, 0)
    best = {trial.number for trial in study.best_trials}
    others = [trial for trial in trials if trial.number not in best]
    front = [trial for trial in trials if trial.number in best]
    yield _Series(
        title="value 1 by value 0: the front, and the others as points",
        x_axis="value 0",
        xs=[[trial.values[0] for trial in others], sorted(trial.values[0] for trial in front)],
        ys=[
            [trial.values[1] for trial in others],
            [trial.values[1] for trial in sorted(front, key=lambda each: each.values[0])],
        ],
        lines=[False, True],
    )


def _intermediate(study: optuna.Study) -> Iterator[_Series]:
    curves = [t.intermediate_values for t in study.get_trials(deepcopy=False) if t.intermediate_values]
    newest = curves[-MOST_CURVES:]
    yield _Series(
        title=f"intermediate values of {counted(len(newest), 'trial')}, the newest that reported",
        x_axis="step",
        xs=[[float(step) for step in sorted(curve)] for curve in newest],
        ys=[[curve[step] for step in sorted(curve)] for curve in newest],
        lines=[True] * len(newest),
    )


def _finite(study: optuna.Study, objective: int) -> list[FrozenTrial]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in complete if math.isfinite(trial.values[objective])]


_SERIES: dict[PlotKind, Callable[[optuna.Study], Iterator[_Series]]] = {
    "history": _history,
    "slice": _slice,
    "front": _front,
    "intermediate": _intermediate,
}
