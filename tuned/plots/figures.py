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

    #: None: the one objective of a study. Optuna then draws the best value so far too.
    Target = Callable[[FrozenTrial], float] | None

#: A contour has a field for each pair of parameters, and more than so many parameters make none readable.
MOST_CONTOUR_PARAMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure with its title."""

    title: str
    figure: Figure


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


def _objectives(study: optuna.Study) -> Iterator[tuple[str, str, Target]]:
    """The end of a title, the name of the axis, and the target, of each objective."""
    if len(study.directions) == 1:
        yield "", "value", None
        return
    for number in range(len(study.directions)):
        yield f" of value {number}", f"value {number}", _value(number)


def _value(number: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: float(trial.values[number])


def _loss(study: optuna.Study, number: int) -> Target:
    """The target for importances, which is minimized; None if the study says itself what is better."""
    if len(study.directions) == 1:
        return None
    sign = -1 if study.directions[number] is StudyDirection.MAXIMIZE else 1
    return lambda trial: sign * float(trial.values[number])


def _history(study: optuna.Study) -> Iterator[Drawn]:
    for end, name, target in _objectives(study):
        figure = visualization.plot_optimization_history(study, target=target, target_name=name)
        yield Drawn(title=f"History{end}", figure=figure)


def _importance(study: optuna.Study) -> Iterator[Drawn]:
    for number, (end, name, _) in enumerate(_objectives(study)):
        figure = visualization.plot_param_importances(study, target=_loss(study, number), target_name=name)
        yield Drawn(title=f"Importance of parameters for {name}" if end else "Importance", figure=figure)


def _parallel(study: optuna.Study) -> Iterator[Drawn]:
    for end, name, target in _objectives(study):
        figure = visualization.plot_parallel_coordinate(study, target=target, target_name=name)
        yield Drawn(title=f"Parallel coordinates{end}", figure=figure)


def _slice(study: optuna.Study) -> Iterator[Drawn]:
    for end, name, target in _objectives(study):
        figure = visualization.plot_slice(study, target=target, target_name=name)
        yield Drawn(title=f"Slices{end}", figure=figure)


def _contour(study: optuna.Study) -> Iterator[Drawn]:
    for number, (end, name, target) in enumerate(_objectives(study)):
        params = _most_important(study, number)[:MOST_CONTOUR_PARAMS]
        figure = visualization.plot_contour(study, params=params, target=target, target_name=name)
        yield Drawn(title=f"Contour{end}", figure=figure)


def _front(study: optuna.Study) -> Iterator[Drawn]:
    names = [name for _, name, _ in _objectives(study)]
    yield Drawn(title="Front", figure=visualization.plot_pareto_front(study, target_names=names))


def _intermediate(study: optuna.Study) -> Iterator[Drawn]:
    yield Drawn(title="Intermediate values", figure=visualization.plot_intermediate_values(study))


def _timeline(study: optuna.Study) -> Iterator[Drawn]:
    yield Drawn(title="Timeline", figure=visualization.plot_timeline(study))


_FIGURES: dict[PlotKind, Callable[[optuna.Study], Iterator[Drawn]]] = {
    "history": _history,
    "importance": _importance,
    "parallel": _parallel,
    "slice": _slice,
    "contour": _contour,
    "front": _front,
    "intermediate": _intermediate,
    "timeline": _timeline,
}


def _most_important(study: optuna.Study, number: int) -> list[str]:
    """The parameters' names, the most important first; by their names if that cannot be said."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = sorted({name for trial in complete for name in trial.params})
    if unfit(study, "importance"):
        return names
    weights = get_param_importances(study, target=_loss(study, number))
    # One that only some trials have, because of a condition, has no weight.
    return sorted(names, key=lambda name: -weights.get(name, 0.0))
