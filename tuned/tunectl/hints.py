"""Hints of ``tunectl try``: things that work here and would not at the daemon, each with its remedy.

They look at the file's own words and at this host's files, and never run anything.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.errors import TunedError
from tuned.protocol.host import Status
from tuned.trial import pattern
from tuned.tunectl.text import span
from tuned.tunectl.unreached import has_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tuned.domain.ending import Ending, Failure
    from tuned.domain.space import Point
    from tuned.experiment.experiment import Experiment
    from tuned.tunectl.client import Client


#: The service's user, and the PATH that systemd gives to a service.
SERVICE_USER = "tuned"


SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


#: ProtectHome= and PrivateTmp= hide these from a service.
_HIDDEN = tuple(Path(each) for each in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108


_LAST_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(?!.*\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The daemon that would run the trial: the one that answers, or the one that is installed."""

    is_service: bool
    #: Its PATH, if that is known.
    path: str | None


def surroundings(client: Client) -> Surroundings:
    try:
        status = client.get("/v1/status", Status)
    except TunedError:
        is_service = has_unit()
        return Surroundings(is_service=is_service, path=SERVICE_PATH if is_service else None)
    is_service = status["is_service"]
    return Surroundings(
        is_service=is_service, path=_path_of(status["pid"]) or (SERVICE_PATH if is_service else None)
    )


def _path_of(pid: int) -> str | None:
    """A process's PATH; None if this user may not read it."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((os.fsdecode(each[5:]) for each in variables if each.startswith(b"PATH=")), None)


#: A shell would have understood these.
_SHELL_SYNTAX = re.compile(r"\d?[<>|&;]+.*|~/.*|\$\w.*|\$\{.*")


def hints(
    parsed: Experiment, point: Point, ending: Ending, *, daemon: Surroundings, last_line: str
) -> Iterator[str]:
    """Sentences for a person, the most likely mistake first.

    ``last_line`` is the last one of the trial's output.
    """
    objective = parsed.objective
    argv = [] if objective.python is not None else list(parsed.argv(point))
    if objective.workdir is None:
        # A program without a slash is looked for in PATH.
        yield from _relative_files(argv if argv and "/" in argv[0] else argv[1:])
    if argv:
        yield from _program(argv[0], objective.env.get("PATH") or daemon.path)
        yield from _shell_syntax(argv)
    if objective.python is not None and objective.workdir is None and objective.path is None:
        yield from _module(objective.python.partition(":")[0])
    for place in _places(parsed, argv):
        yield from _out_of_reach(place, daemon)
    if each := str(parsed.resources):
        yield f"this ran without [resources] ({each}): no limits, and the GPUs that you see"
    if parsed.pruner is not None and not ending.intermediate:
        yield _reports(parsed)
    if ending.failure is not None:
        yield from _value(parsed, ending.failure, last_line)
        if "Exec format error" in ending.failure.message:
            yield "the first line of a script says what runs it, such as #!/bin/sh"
    elif objective.timeout is None:
        yield f'without [objective] timeout = "{span(3600)}" or so, a trial that hangs keeps its slot'


def _places(parsed: Experiment, argv: Sequence[str]) -> list[Path]:
    """The paths that a trial needs, without those of its code, which the daemon has elsewhere."""
    named = (*argv, parsed.objective.workdir, parsed.objective.path)
    places = dict.fromkeys(Path(each) for each in named if each and each.startswith("/"))
    return [place for place in places if not parsed.tree or not place.is_relative_to(parsed.tree)]


def _relative_files(arguments: Sequence[str]) -> Iterator[str]:
    for argument in arguments:
        # Also the value of an option: --config=settings.yaml
        path = argument.rpartition("=")[2]
        if path and not path.startswith("/") and Path(path).exists():
            yield (
                f"{path} is a file here, but a trial runs in a private directory: "
                f'write {Path(path).resolve()}, or set [objective] workdir = "{Path.cwd()}"'
            )


def _module(module: str) -> Iterator[str]:
    file = Path(*module.split("."))
    if file.with_suffix(".py").exists() or file.is_dir():
        yield (
            f"module {module} is here, but a trial imports from its own directory: "
            f'set [objective] path = "{Path.cwd()}"'
        )


def _program(program: str, path: str | None) -> Iterator[str]:
    if "/" in program or " " in program:
        return
    here = shutil.which(program)
    there = here if path is None else shutil.which(program, path=path)
    if here is None and there is None:
        yield f"there is no program {program} in PATH; is it installed?"
    elif there is None:
        yield f"the daemon would not find {program}: its PATH is {path}; write {here}"
    elif here is not None and not _is_same(Path(here), Path(there)):
        yield f"{program} is {here} here, but {there} at the daemon: write the one that is meant"


def _is_same(here: Path, there: Path) -> bool:
    """Whether both names run the same. A virtual environment's Python is a link, and yet another Python."""
    return here.samefile(there) and _environment(here) == _environment(there)


def _environment(program: Path) -> Path | None:
    """The virtual environment of a program that stands in one."""
    directory = program.parent.resolve().parent
    return directory if (directory / "pyvenv.cfg").exists() else None


def _shell_syntax(argv: Sequence[str]) -> Iterator[str]:
    if "-c" in argv[1:]:
        return
    for argument in argv[1:]:
        if _SHELL_SYNTAX.fullmatch(argument):
            yield f'there is no shell, {argument} is an argument like others; with one: ["sh", "-c", "..."]'


def _value(parsed: Experiment, failure: Failure, last_line: str) -> Iterator[str]:
    if failure.cause != "no-value" or "NaN" in failure.message or parsed.objective.python is not None:
        return
    if parsed.objective.pattern is not None and pattern.CUT in failure.message:
        yield f"write pattern = {_toml(pattern.reading_floats(parsed.objective.pattern))}"
    elif parsed.objective.pattern is not None:
        yield f"on standard output, the pattern is searched for in each line: {parsed.objective.pattern}"
    elif len(parsed.directions) > 1:
        example = ", ".join(f"{place}.5" for place, _ in enumerate(parsed.directions))
        yield f'print a line such as {{"values": [{example}]}} on standard output'
    elif parsed.objective.command and (proposed := _pattern(last_line)):
        yield f"the pattern for the line {last_line.strip()}: [objective] metric.pattern = {proposed}"
    else:
        yield (
            "print the value as the last line of standard output, such as 0.97, "
            'or a line such as {"value": 0.97}'
        )


def _toml(text: str) -> str:
    """As a string of a file: without escapes if that is possible."""
    return json.dumps(text) if "'" in text else f"'{text}'"


def _pattern(line: str) -> str | None:
    """A pattern, as TOML, that finds the last number of a line by the words before it."""
    found = _LAST_NUMBER.search(line)
    words = re.findall(r"[^\d\s,;|]+\s*$", line[: found.start()]) if found else []
    if not words or not words[0].strip():
        return None
    return _toml(re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", words[0]) + rf"(?P<value>{pattern.FLOAT})")


def _reports(parsed: Experiment) -> str:
    """The way to report steps, for a trial that reported none."""
    pruner = f"the pruner {parsed.pruner.name if parsed.pruner else ''} looks at reports, and there was none"
    if parsed.objective.python is not None:
        return f"{pruner}: call trial.report(value, step) after each step"
    if parsed.objective.pattern is not None:
        return f"{pruner}: each match of [objective.metric] pattern is one, as soon as its line is printed"
    several = len(parsed.directions) > 1
    key, value = ("values", [0.5] * len(parsed.directions)) if several else ("value", 0.5)
    line = json.dumps({"step": 1, key: value})
    return f"{pruner}: print a line such as {line} after each step, and flush it"


def _out_of_reach(place: Path, daemon: Surroundings) -> Iterator[str]:
    if not place.exists() or not daemon.is_service:
        return
    if any(place.is_relative_to(hidden) for hidden in _HIDDEN):
        yield f"{place} is hidden from the service (ProtectHome, PrivateTmp): move it, such as below /srv"
        return
    try:
        user = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    for each in [*reversed(place.resolve().parents), place.resolve()]:
        status = each.stat()
        wanted = stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
        if not _allows(status, wanted, user.pw_uid, groups):
            verb = "enter" if wanted == stat.S_IXOTH else "read"
            yield f"user {SERVICE_USER} may not {verb} {each}"
            return


def _allows(status: os.stat_result, bit: int, uid: int, gids: Sequence[int]) -> bool:
    """Whether the mode grants to this user what ``bit`` grants to others."""
    if uid in {0, status.st_uid}:
        return uid == 0 or bool(status.st_mode & bit << 6)
    return bool(status.st_mode & (bit << 3 if status.st_gid in gids else bit))
