"""Hints of ``tunectl try``: things that work here and would not at the daemon, each with its remedy.

They look at the file's own words and at this host's files, and never run anything.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tuned.tunectl.text import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tuned.domain.ending import Ending, Failure
    from tuned.domain.space import Point
    from tuned.experiment.experiment import Experiment


#: The service's user, and the PATH that systemd gives to a service.
SERVICE_USER = "tuned"


SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


#: ProtectHome= and PrivateTmp= hide these from a service.
_HIDDEN = tuple(Path(each) for each in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108


#: A shell would have understood these.
_SHELL_SYNTAX = re.compile(r"\d?[<>|&;]+.*|~/.*|\$\w.*|\$\{.*")


def hints(parsed: Experiment, point: Point, ending: Ending) -> Iterator[str]:
    """Sentences for a person, the most likely mistake first."""
    objective = parsed.objective
    argv = [] if objective.python is not None else list(parsed.argv(point))
    if objective.workdir is None:
        # A program without a slash is looked for in PATH.
        yield from _relative_files(argv if argv and "/" in argv[0] else argv[1:])
    if argv:
        yield from _program(argv[0], objective.env.get("PATH"))
        yield from _shell_syntax(argv)
    if objective.python is not None and objective.workdir is None and objective.path is None:
        yield from _module(objective.python.partition(":")[0])
    places = [
        Path(each) for each in (*argv, objective.workdir, objective.path) if each and each.startswith("/")
    ]
    for place in dict.fromkeys(places):
        yield from _out_of_reach(place)
    if each := str(parsed.resources):
        yield f"this ran without [resources] ({each}): no limits, and the GPUs that you see"
    if ending.failure is not None:
        yield from _value(parsed, ending.failure)
        if "Exec format error" in ending.failure.message:
            yield "the first line of a script says what runs it, such as #!/bin/sh"
    elif objective.timeout is None:
        yield f'without [objective] timeout = "{span(3600)}" or so, a trial that hangs keeps its slot'


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
    if " " in program:
        words = ", ".join(f'"{word}"' for word in program.split())
        yield f"command is an array of arguments, not a line: [{words}]"
        return
    if "/" in program:
        return
    here, there = shutil.which(program), shutil.which(program, path=path or SERVICE_PATH)
    if here is None and there is None:
        yield f"there is no program {program} in PATH; is it installed?"
    elif there is None:
        yield f"the daemon would not find {program}: its PATH is {path or SERVICE_PATH}; write {here}"
    elif here is not None and not Path(here).samefile(there):
        yield f"{program} is {here} here, but {there} at the daemon: write the one that is meant"


def _shell_syntax(argv: Sequence[str]) -> Iterator[str]:
    if "-c" in argv[1:]:
        return
    for argument in argv[1:]:
        if _SHELL_SYNTAX.fullmatch(argument):
            yield f'there is no shell, {argument} is an argument like others; with one: ["sh", "-c", "..."]'


def _value(parsed: Experiment, failure: Failure) -> Iterator[str]:
    if failure.cause != "no-value" or "NaN" in failure.message:
        return
    if parsed.objective.pattern is not None:
        yield f"on standard output, the pattern is searched for in each line: {parsed.objective.pattern}"
    elif len(parsed.directions) > 1:
        example = ", ".join(f"{place}.5" for place, _ in enumerate(parsed.directions))
        yield f'print a line such as {{"values": [{example}]}} on standard output'
    else:
        yield (
            "print the value as the last line of standard output, such as 0.97, "
            'or a line such as {"value": 0.97}'
        )


def _out_of_reach(place: Path) -> Iterator[str]:
    if not place.exists():
        yield f"there is no {place} on this host"
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
