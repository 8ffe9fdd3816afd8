"""Describes an experiment in a few lines, before it runs.

It owns the words of ``tunectl check``. It must never decide anything that the daemon decides.
"""

from __future__ import annotations

from tuned.config.spans import format_span
from tuned.config.toml import describe, printable
from tuned.domain.space import CategoricalParameter, Space
from tuned.experiment import samplers
from tuned.experiment.experiment import Experiment

_LONGEST_SHOWN_ARGV = 200


def summary(experiment: Experiment, *, has_direction: bool = True) -> list[str]:
    """The experiment in short lines for people."""
    budget = experiment.budget
    limits = [
        f"{budget.trials} trials" if budget.trials else "",
        f"{budget.evaluations} evaluations" if budget.evaluations else "",
        format_span(budget.time) if budget.time else "",
    ]
    seed = "" if experiment.sampler.seed is None else f", seed {experiment.sampler.seed}"
    lines = [
        f"study: {experiment.name}, {' and '.join(experiment.directions)}"
        + ("" if has_direction else " (the default)"),
        f"runs: {_example(experiment)}",
        f"space: {_size(experiment.space)}",
        f"sampler: {experiment.sampler.name}{seed}{_sampler_note(experiment)}",
        f"budget: {', '.join(filter(None, limits)) or _endless(experiment.space)}",
    ]
    if experiment.parallel is not None:
        lines.append(f"at once: {experiment.parallel} on this host")
    if each := str(experiment.resources):
        lines.append(f"each trial: {each}")
    if count := len(experiment.points):
        lines.append(f"first: {count} given point{'' if count == 1 else 's'}")
    return lines


def _endless(space: Space) -> str:
    return (
        "none, it runs until cancelled" if space.size is None else "none, it ends when the space is exhausted"
    )


def _example(experiment: Experiment) -> str:
    if experiment.objective.python:
        return experiment.objective.python
    # A word is quoted only if it could be mistaken: shlex would put quotes around every {name}.
    words = (
        word if word and " " not in word else describe(word) for word in experiment.objective.command or ()
    )
    line = printable(" ".join(words))
    return line if len(line) <= _LONGEST_SHOWN_ARGV else line[: _LONGEST_SHOWN_ARGV - 1] + "…"


def _size(space: Space) -> str:
    names = ", ".join(parameter.name for parameter in space.parameters)
    if space.size is not None:
        return f"{space.size} points ({names})"
    if any(parameter.size is None for parameter in space.parameters):
        return f"continuous ({names})"
    return f"over 2**62 points ({names})"


def _sampler_note(experiment: Experiment) -> str:
    has_choices = any(isinstance(p, CategoricalParameter) for p in experiment.space.parameters)
    if samplers.SAMPLERS[experiment.sampler.name].ignores_categorical and has_choices:
        return " (draws categorical parameters at random)"
    return ""
