"""Advice on an experiment file that is right as a file, but may not be what its author means.

``check`` and ``try`` share it. It looks at the file's own words and at this host's files, and never runs
anything or asks a daemon.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuned.config.toml import alternatives, shorten
from tuned.domain.counts import counted
from tuned.experiment.checks import placeholders
from tuned.experiment.tables.code import PLACE
from tuned.trial.launch import interpreter_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tuned.experiment.experiment import Experiment

#: Measures that are better if they are larger, as they stand in names, patterns and output.
_MAXIMIZED = re.compile(
    r"(?<![a-z])(accuracy|acc|auc|auroc|roc_auc|f1|score|reward|r2|precision|recall)(?![a-z])", re.IGNORECASE
)

#: A shell, or tuned in an argument, would have replaced these.
_REPLACED = re.compile(r"\$\w+|\$\{\w+\}|\$\(.*\)|~/.*|\{\w+\}")

#: Programs whose first argument is the program that a person wrote.
_INTERPRETERS = re.compile(r"(python|pypy)[\d.]*|(ba|da|z|k)?sh|perl|ruby|node|julia|Rscript|lua")


class Advice(NamedTuple):
    #: Something is missing on this host; otherwise it is only a hint.
    is_warning: bool
    text: str


def advice(parsed: Experiment, document: Mapping[str, object], last_line: str = "") -> Iterator[Advice]:
    """Warnings first, then hints.

    ``document`` is the file as it was read, ``last_line`` the last one that a trial printed, if one ran.
    """
    for text in _missing(parsed):
        yield Advice(True, text)
    for text in (*_line(parsed), *_literal(parsed), *_unnamed(parsed), *_idle(parsed)):
        yield Advice(False, text)
    if "direction" not in document and "directions" not in document:
        pattern = parsed.objective.pattern or ""
        yield from (Advice(False, text) for text in _direction(pattern, last_line, parsed.name))


def _direction(*texts: str) -> Iterator[str]:
    """For a file without a direction: whether one of these texts names a measure that is maximized."""
    for found in filter(None, map(_MAXIMIZED.search, texts)):
        yield f'{found[0]} is usually maximized, and minimize is the default: write direction = "maximize"'
        return


def _missing(parsed: Experiment) -> Iterator[str]:
    objective = parsed.objective
    for key in ("workdir", "path"):
        place = getattr(objective, key)
        if place is not None and not place.startswith(PLACE) and not Path(place).is_dir():
            yield f"objective.{key}: there is no directory {place} on this host"
    if parsed.code is not None and not Path(parsed.code.dir or "").exists():
        yield f"code.dir: there is no directory {parsed.code.dir} on this host"
    words = [word for word in objective.command or () if not any(placeholders(word))]
    if not words or len(words[0].split()) > 1 or words[0] != (objective.command or ("",))[0]:
        return
    for word in words[: 2 if _INTERPRETERS.fullmatch(Path(words[0]).name) else 1]:
        file = _file(word, objective.workdir or (None if parsed.code is None else parsed.code.dir))
        if file is not None and not file.exists():
            yield f"objective.command: there is no {file} on this host"
        elif file is not None and word == words[0] and (problem := interpreter_problem(file)):
            yield f"objective.command: {problem}"


def _file(word: str, workdir: str | None) -> Path | None:
    """The file that a word of the command names; None if it names none, or one of a trial's own directory."""
    if word.startswith("/"):
        return Path(word)
    is_path = "/" in word or word.endswith((".py", ".sh"))
    return Path(workdir, word) if workdir is not None and is_path and not word.startswith("-") else None


def _line(parsed: Experiment) -> Iterator[str]:
    program, *rest = parsed.objective.command or ("",)
    if rest or len(words := program.split()) < 2 or Path(program).exists():
        return
    if _SHELL.search(program):
        yield (
            "objective.command is an array of arguments, not a line: "
            f"with a shell, {json.dumps(['sh', '-c', program], ensure_ascii=False)}"
        )
    else:
        yield (
            f"objective.command is an array of arguments, not a line: {json.dumps(words, ensure_ascii=False)}"
        )


#: Only a shell does something with these.
_SHELL = re.compile(r"""[<>|&;"'`*?$]""")


def _literal(parsed: Experiment) -> Iterator[str]:
    """Words that look as if they would be replaced, where nothing replaces them."""
    for name, value in parsed.objective.env.items():
        if found := _REPLACED.search(value if parsed.code is None else value.replace(PLACE, "")):
            yield (
                f"objective.env.{name}: {shorten(found[0])} stays as it is, values of env are taken literally"
                + _instead(found[0], parsed)
            )
    program = (parsed.objective.command or ("",))[0]
    if program.startswith(("~/", "$")):
        yield f"objective.command: {shorten(program)} stays as it is, because there is no shell"


def _instead(word: str, parsed: Experiment) -> str:
    name = word.strip("{}")
    if name in [parameter.name for parameter in parsed.space.parameters]:
        return f"; a trial finds this parameter in TUNED_PARAM_{name.upper()}"
    return ""


def _unnamed(parsed: Experiment) -> Iterator[str]:
    command = parsed.objective.command
    if command is None:
        return
    named = {name for argument in command for _, name in placeholders(argument)}
    missing = [p.name for p in parsed.space.parameters if p.name not in named]
    if missing and not _reads_environment(command):
        variables = alternatives([f"TUNED_PARAM_{name.upper()}" for name in missing[:3]], "and")
        yield (
            f"no argument names {alternatives(missing[:3], 'and')}{' and others' if missing[3:] else ''}: "
            f"the program finds such values in {variables}, or all of them in TUNED_PARAMS"
        )


def _idle(parsed: Experiment) -> Iterator[str]:
    """Keys that say how the search ends and never will."""
    budget, most = parsed.budget, parsed.space.size
    for count, what in ((budget.trials, "trial"), (budget.evaluations, "evaluation"), (most, "point")):
        if budget.stalled is not None and count is not None and budget.stalled >= count:
            stalled = counted(budget.stalled, "evaluation")
            yield f"budget.stalled: found {stalled}, expected fewer than all {counted(count, what)}"
            break
    has_other_end = budget.target is not None or budget.stalled is not None or budget.time is not None
    if budget.when_over == "abort" and not has_other_end and parsed.objective.command:
        yield (
            "budget.when_over: trials and evaluations are never cut short, "
            "so it does nothing without target, stalled or time"
        )


def _reads_environment(command: Sequence[str]) -> bool:
    return any("TUNED_PARAM" in word for word in command)
