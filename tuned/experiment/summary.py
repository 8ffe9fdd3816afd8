"""Describes an experiment in a few lines, before it runs.

It owns the words of ``tunectl check``. It must never decide anything that the daemon decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from tuned.config.notify import shown_command, shown_url
from tuned.config.spans import format_span
from tuned.config.toml import describe, shorten
from tuned.domain.branches import Span
from tuned.domain.counts import counted
from tuned.domain.space import MOST_POINTS, CategoricalParameter, Parameter, Space
from tuned.errors import printable
from tuned.experiment.budget import Budget
from tuned.experiment.experiment import Experiment
from tuned.experiment.pruners import Pruner
from tuned.experiment.tables.fleet import Participation
from tuned.experiment.tables.notify import Notify

_LONGEST_SHOWN_ARGV = 200

_MOST_BRANCHES = 20


def summary(experiment: Experiment, *, has_direction: bool = True) -> list[str]:
    """The experiment in short lines for people."""
    budget = experiment.budget
    limits = [
        counted(budget.trials, "trial") if budget.trials else "",
        counted(budget.evaluations, "evaluation") if budget.evaluations else "",
        format_span(budget.time) if budget.time else "",
    ]
    seed = "" if experiment.sampler.seed is None else f", seed {experiment.sampler.seed}"
    lines = [
        f"study: {experiment.name}, {' and '.join(experiment.directions)}"
        + ("" if has_direction else " (the default)"),
        f"runs: {_example(experiment)}",
        f"space: {_size(experiment.space)}",
        *islice(_branches(experiment.space), _MOST_BRANCHES),
        *_forbidden(experiment.space),
        f"sampler: {experiment.sampler.name}{seed}{_sampler_note(experiment)}",
        *_pruner(experiment.pruner),
        f"budget: {', '.join(filter(None, limits)) or _endless(experiment)}",
    ]
    if ends := _ends(budget):
        lines.append(f"ends: {ends}")
    if (plan := experiment.replicates).count > 1:
        lines.append(f"replicates: {plan.count} of each point, and the {plan.reduce} of their values")
    if experiment.parallel is not None:
        lines.append(f"at once: {experiment.parallel} on this host")
    if each := str(experiment.resources):
        lines.append(f"each trial: {each}")
    if hosts := _hosts(experiment.fleet):
        lines.append(f"hosts: {hosts}")
    if priority := experiment.fleet.priority:
        lines.append(f"priority: {priority}")
    if experiment.notify is not None:
        lines.append(f"notify: {_told(experiment.notify)}")
    if count := len(experiment.points):
        lines.append(f"first: {counted(count, 'given point')}")
    return lines


def _hosts(fleet: Participation) -> str:
    """The hosts that take part, unless all do."""
    named = {"all": "", "here": "those on which its file is dropped"}
    hosts = named[fleet.hosts] if isinstance(fleet.hosts, str) else ", ".join(fleet.hosts)
    labels = f"with label{'s' if len(fleet.labels) > 1 else ''} {', '.join(fleet.labels)}"
    return ", ".join(filter(None, [hosts, labels if fleet.labels else ""]))


def _told(notify: Notify) -> str:
    """Of which events people are told, and how; without what may be secret."""
    if not notify.on:
        return "nothing"
    if notify.url is not None:
        way = shown_url(notify.url)
    elif notify.command is not None:
        way = printable(" ".join(shown_command(notify.command)))
    else:
        way = "as the settings of the host say that tells it"
    return f"{', '.join(notify.on)} ({way})"


def _pruner(pruner: Pruner | None) -> list[str]:
    if pruner is None:
        return []
    keywords = ", ".join(f"{key} {value}" for key, value in pruner.options.items())
    return [f"pruner: {pruner.name}{keywords and f': {keywords}'}"]


def _endless(experiment: Experiment) -> str:
    if experiment.space.size is not None:
        return "none, it ends when the space is exhausted"
    budget = experiment.budget
    has_end = budget.target is not None or budget.stalled is not None
    return "none" if has_end else "none, it runs until cancelled"


def _ends(budget: Budget) -> str:
    """The ends that may come before the budget is used up, and the fate of running trials then."""
    found = []
    if budget.target is not None:
        found.append(f"when a trial reaches {_numbers(budget.target)}")
    if budget.stalled is not None:
        by = f" by more than {_numbers(budget.min_delta)}" if budget.min_delta else ""
        found.append(f"after {counted(budget.stalled, 'evaluation')} with nothing better{by}")
    if budget.when_over == "abort":
        found.append("what still runs at its end is killed")
    return "; ".join(found)


def _numbers(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.12g}" for number in numbers)


def _example(experiment: Experiment) -> str:
    objective = experiment.objective
    if objective.python:
        return f"{objective.python} in {objective.interpreter}" if objective.interpreter else objective.python
    # A word is quoted only if it could be mistaken: shlex would put quotes around every {name}.
    words = (word if word and " " not in word else describe(word) for word in objective.command or ())
    line = printable(" ".join(words))
    return line if len(line) <= _LONGEST_SHOWN_ARGV else line[: _LONGEST_SHOWN_ARGV - 1] + "…"


def _size(space: Space) -> str:
    names = ", ".join(parameter.name for parameter in space.parameters)
    return f"{_count(space.forest.size, space)} ({names})"


def _branches(space: Space) -> Iterator[str]:
    """How many points there are with each value on which other parameters depend."""
    parents = {name for condition in space.conditions.values() for name in condition}
    for parameter in space.ordered:
        if parameter.name in parents:
            for places, size in space.forest.branch_sizes(parameter.name):
                values = shorten(", ".join(_values(parameter, span) for span in places))
                yield f"  {parameter.name} = {values}: {_count(size, space)}"


def _forbidden(space: Space) -> list[str]:
    """How many points [[forbid]] takes out, if they can be counted."""
    size, whole = space.forest.size, replace(space.forest, forbidden=()).size
    if not space.forbidden or size is None or whole is None:
        return []
    return [f"  [[forbid]] takes out {_count(whole - size, space)}"]


def _values(parameter: Parameter, span: Span) -> str:
    first, last = span
    if parameter.size is None:
        return f"{first:g} to {last:g}"
    if isinstance(parameter, CategoricalParameter):
        return ", ".join(map(describe, parameter.choices[int(first) : int(last) + 1]))
    low, high = parameter.at(int(first)), parameter.at(int(last))
    return describe(low) if first == last else f"{describe(low)} to {describe(high)}"


def _count(size: int | None, space: Space) -> str:
    if size is None and any(parameter.size is None for parameter in space.parameters):
        return "continuous"
    if size is None or size > MOST_POINTS:
        return "over 2**62 points"
    return counted(size, "point")


def _sampler_note(experiment: Experiment) -> str:
    sampler, space = experiment.sampler, experiment.space
    notes = []
    if sampler.ignores_categorical and any(isinstance(p, CategoricalParameter) for p in space.parameters):
        notes.append("draws categorical parameters at random")
    if space.conditions and sampler.for_conditions is None:
        notes.append("draws parameters with a condition at random")
    if space.conditions and sampler.options_for(space).get("group"):
        notes.append("in groups of parameters that exist together")
    return f" ({'; '.join(notes)})" if notes else ""
