"""Which of Optuna's plots fit a study, and their figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna import visualization
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuned.errors import TunedError
from tuned.protocol.plots import KINDS, PlotKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plotly.graph_objects import Figure

    Target = Callable[[FrozenTrial], float] | None
    Plots = Callable[[optuna.Study], Iterator["Drawn"]]

#: A contour has a field for each pair of parameters, and more than so many parameters make none readable.
MOST_CONTOUR_PARAMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure with its title."""

    title: str
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objective:
    #: Of its value.
    name: str
    #: Of a title.
    end: str
    #: None: the one objective of a study. Optuna then draws the best value so far too.
    target: Target
    #: The target for importances, which is minimized; None if the study says itself what is better.
    loss: Target


def drawn(study: optuna.Study, kinds: Sequence[PlotKind]) -> list[Drawn]:
    """The figures of these kinds, or of all that fit the study. Raises TunedError if one does not fit."""
    require_fit(study, kinds)
    fitting = kinds or [kind for kind in KINDS if unfit(study, kind) is None]
    if not fitting:
        raise TunedError("it has no trial yet")
    return [each for kind in fitting for each in _FIGURES[kind](study)]


def require_fit(study: optuna.Study, kinds: Sequence[PlotKind]) -> None:
    """Raises TunedError if the study has no plot of one of these kinds."""
    for kind in kinds:
        if reason := unfit(study, kind):
            raise TunedError(f"{kind}: {reason}")


def unfit(study: optuna.Study, kind: PlotKind) -> str | None:
    """Why a study has no such plot; None if it has."""
    trials = study.get_trials(deepcopy=False)
    if not trials:
        return "found no trial"
    match kind:
        case "timeline":
            return None
        case "intermediate":
            return None if any(t.intermediate_values for t in trials) else "found no intermediate value"
        case _:
            return _unfit_by_values(study, kind)


def _unfit_by_values(study: optuna.Study, kind: PlotKind) -> str | None:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = {name for trial in complete for name in trial.params}
    objectives = len(study.directions)
    match kind:
        case "front" if objectives not in {2, 3}:
            return f"found {objectives}, expected two or three objectives"
        case "importance" if len(complete) < 2:
            return f"found {len(complete)}, expected at least two trials with a value"
        case "importance" if not _differ(complete):
            return "found the same values in all trials"
        case "contour" if len(names) < 2:
            return f"found {len(names)}, expected at least two parameters"
    return None if complete else "found no trial with a value"


def _differ(trials: Sequence[FrozenTrial]) -> bool:
    return all(len(set(values)) > 1 for values in zip(*(trial.values for trial in trials), strict=True))


def value_names(study: optuna.Study) -> list[str]:
    """Of the objectives, for titles and axes."""
    count = len(study.directions)
    return ["value"] if count == 1 else [f"value {number}" for number in range(count)]


def _objectives(study: optuna.Study) -> list[_Objective]:
    names = value_names(study)
    if len(names) == 1:
        return [_Objective(name=names[0], end="", target=None, loss=None)]
    signs = [-1 if direction is StudyDirection.MAXIMIZE else 1 for direction in study.directions]
    return [
        _Objective(name=name, end=f" of {name}", target=_value(number, 1), loss=_value(number, sign))
        for number, (name, sign) in enumerate(zip(names, signs, strict=True))
    ]


def _value(number: int, sign: int) -> Target:
    return lambda trial: sign * float(trial.values[number])


def _for_each_objective(title: str, plot: Callable[..., Figure]) -> Plots:
    """The same plot of each objective."""

    def plots(study: optuna.Study) -> Iterator[Drawn]:
        for each in _objectives(study):
            yield Drawn(title=title + each.end, figure=plot(study, target=each.target, target_name=each.name))

    return plots


def _importance(study: optuna.Study) -> Iterator[Drawn]:
    for each in _objectives(study):
        figure = visualization.plot_param_importances(study, target=each.loss, target_name=each.name)
        title = f"Importance of parameters for {each.name}" if each.end else "Importance"
        yield Drawn(title=title, figure=figure)


def _contour(study: optuna.Study) -> Iterator[Drawn]:
    for each in _objectives(study):
        params = _most_important(study, each.loss)[:MOST_CONTOUR_PARAMS]
        figure = visualization.plot_contour(study, params=params, target=each.target, target_name=each.name)
        yield Drawn(title=f"Contour{each.end}", figure=figure)


def _front(study: optuna.Study) -> Iterator[Drawn]:
    figure = visualization.plot_pareto_front(study, target_names=value_names(study))
    yield Drawn(title="Front", figure=figure)


def _intermediate(study: optuna.Study) -> Iterator[Drawn]:
    yield Drawn(title="Intermediate values", figure=visualization.plot_intermediate_values(study))


def _timeline(study: optuna.Study) -> Iterator[Drawn]:
    yield Drawn(title="Timeline", figure=visualization.plot_timeline(study))


_FIGURES: dict[PlotKind, Plots] = {
    "history": _for_each_objective("History", visualization.plot_optimization_history),
    "importance": _importance,
    "parallel": _for_each_objective("Parallel coordinates", visualization.plot_parallel_coordinate),
    "slice": _for_each_objective("Slices", visualization.plot_slice),
    "contour": _contour,
    "front": _front,
    "intermediate": _intermediate,
    "timeline": _timeline,
}


def _most_important(study: optuna.Study, loss: Target) -> list[str]:
    """The parameters' names, the most important first; by their names if that cannot be said."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = sorted({name for trial in complete for name in trial.params})
    if unfit(study, "importance"):
        return names
    weights = get_param_importances(study, target=loss)
    # One that only some trials have, because of a condition, has no weight.
    return sorted(names, key=lambda name: -weights.get(name, 0.0))
