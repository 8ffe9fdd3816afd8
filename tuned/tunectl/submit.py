"""Experiment files before the daemon has them: checked, described, and put into the spool.

It never overwrites a file that waits there, and leaves none that is half written.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuned.config import loading
from tuned.errors import (
    Conflict,
    DatabaseAway,
    Forbidden,
    InvalidInput,
    NotFound,
    Problem,
    TunedError,
    Unreachable,
)
from tuned.experiment import experiment, summary
from tuned.experiment.differences import differences
from tuned.experiment.tables.notify import concealed
from tuned.protocol.experiments import ExperimentView, ReplacedView
from tuned.protocol.host import Status
from tuned.protocol.limits import MOST_FILE_BYTES
from tuned.tunectl import deletion, interpreter, snapshot
from tuned.tunectl.advice import advice
from tuned.tunectl.client import experiment_path
from tuned.tunectl.output import complain
from tuned.tunectl.pages import fleet
from tuned.tunectl.text import Colour, cut, number, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from tuned.domain.space import Point
    from tuned.experiment.experiment import Experiment
    from tuned.protocol.events import Event
    from tuned.protocol.experiments import ExperimentSummary
    from tuned.tunectl.client import Client
    from tuned.tunectl.snapshot import Snapshot
    from tuned.tunectl.text import Canvas


STDIN = "-"


#: How long the daemon has to say whether it takes a file; other users' files first lie still for a second.
TAKE_SECONDS = 5.0


def load(file: str) -> tuple[Experiment, bytes]:
    """The file's experiment and its bytes. Raises InvalidInput with all that is wrong, NotFound."""
    content, name = _read(file)
    parsed = experiment.parse(content, name)
    if file == STDIN and "name" not in tomllib.loads(content.decode()):
        expected = "a name, because standard input has none"
        raise InvalidInput(Problem(file=name, key="name", found="nothing", expected=expected))
    return parsed, content


def check(canvas: Canvas, files: Sequence[str]) -> int:
    def describe(file: str) -> None:
        parsed, content = load(file)
        click.echo(f"{file}: ok")
        document = tomllib.loads(content.decode())
        has_direction = "direction" in document or "directions" in document
        for line in summary.summary(parsed, has_direction=has_direction):
            click.echo(f"  {cut(printable(line), canvas.width - 2)}")
        for line in snapshot.described(parsed, file):
            click.echo(f"  {cut(printable(line), canvas.width - 2)}")
        if problem := interpreter.problem(parsed):
            click.echo(f"  {canvas.paint('warning:', Colour.YELLOW)} {printable(problem)}")
        for is_warning, text in advice(parsed, document):
            click.echo(
                f"  {canvas.paint('warning:' if is_warning else 'hint:', Colour.YELLOW)} {printable(text)}"
            )

    return _each(files, describe)


def submit(client: Client, files: Sequence[str]) -> int:
    """Files that are wrong are told and left; the others go into the spool."""
    spool = _spool(client)
    return _each(files, lambda file: _put_and_tell(client, spool, file, *load(file)))


def replace(client: Client, files: Sequence[str], *, with_code: bool) -> int:
    """Makes experiments what these files say; submits a file if this host has no part in it yet.

    With their code, if that is asked for.
    """
    spool = _spool(client)

    def change_and_tell(file: str) -> None:
        parsed, content = load(file)
        path = experiment_path(parsed.name, "replace")
        with snapshot.taken(parsed, file) if with_code else contextlib.nullcontext() as code:
            if code is not None:
                _put_code(spool, parsed.name, code)
            view = client.post(path, ReplacedView, body=content, code=1 if with_code else None)
        click.echo("\n".join(fleet.replaced(view)))
        if not view["runs_here"] and view["experiment"]["state"] != "done":
            _put_and_tell(client, spool, file, parsed, content)

    return _each(files, change_and_tell)


def fresh(client: Client, files: Sequence[str], *, is_sure: bool, is_forced: bool) -> int:
    """Deletes experiments and submits these files for them; a person who wants to keep one exits 1."""
    spool = _spool(client)
    kept: list[str] = []

    def delete_and_put(file: str) -> None:
        parsed, content = load(file)
        with contextlib.suppress(NotFound):
            if not deletion.delete(client, parsed.name, is_sure=is_sure, is_forced=is_forced):
                kept.append(file)
                return
        _put_and_tell(client, spool, file, parsed, content)

    return _each(files, delete_and_put) or int(bool(kept))


def _put_and_tell(client: Client, spool: Path, file: str, parsed: Experiment, content: bytes) -> None:
    with snapshot.taken(parsed, file) as code:
        if code is not None:
            parsed = parsed.with_snapshot(code.manifest.digest)
        before = _known(client, parsed)
        if before is not None and before["state"] == "done":
            click.echo(fleet.over(before))
            return
        # Begun before the file is there: the daemon's word on it cannot be missed.
        following = _events(client)
        _put(spool, parsed.name, content, code)
    click.echo(_verdict(client, parsed.name, following, before))


def _known(client: Client, parsed: Experiment) -> ExperimentSummary | None:
    """The experiment that is there, if it is the one of this file."""
    try:
        view = client.get(experiment_path(parsed.name), ExperimentView)
    except (NotFound, DatabaseAway, Unreachable):
        return None
    mine = json.dumps(concealed(json.loads(parsed.definition())))
    same = not differences(mine, json.dumps(view["definition"]))
    return view["summary"] if same else None


def _each(files: Sequence[str], act: Callable[[str], None]) -> int:
    status = 0
    for file in files:
        try:
            act(file)
        except Unreachable:
            raise
        except TunedError as error:
            complain(error)
            status = 1
    return status


def _read(file: str) -> tuple[bytes, str]:
    if file == STDIN:
        return sys.stdin.buffer.read(MOST_FILE_BYTES + 1), "stdin.toml"
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MOST_FILE_BYTES + 1), file
    except OSError as error:
        raise NotFound(f"cannot read {file}: {error.strerror}") from None


def _spool(client: Client) -> Path:
    """The daemon's spool; that of the settings, if it does not run."""
    try:
        return Path(client.get("/v1/status", Status)["spool"])
    except Unreachable:
        return loading.load(None, os.environ).spool


def _events(client: Client) -> Generator[Event, None, None] | None:
    following = client.events(within_seconds=TAKE_SECONDS)
    try:
        next(following)
    except Unreachable:
        return None
    return following


def _put_code(spool: Path, name: str, code: Snapshot) -> None:
    try:
        code.put(spool, name)
    except OSError as error:
        raise _not_written(spool, name, error) from None


def _put(spool: Path, name: str, content: bytes, code: Snapshot | None) -> None:
    """Whole or not at all, after its code, and never over a file that waits there."""
    file = f"{name}.toml"
    target, scratch = spool / file, spool / f".{file}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    try:
        if os.path.lexists(target):
            raise Conflict(f"cannot submit {file}: one of this name waits in {spool}")
        if code is not None:
            code.put(spool, name)
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(descriptor)
            scratch.rename(target)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise
        _sync(spool)
    except OSError as error:
        raise _not_written(spool, file, error) from None


def _sync(directory: Path) -> None:
    # A member of the spool's group may write to it, but perhaps not read it.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _not_written(spool: Path, file: str, error: OSError) -> TunedError:
    text = f"cannot submit {file}: cannot write to {spool}: {error.strerror}"
    if isinstance(error, PermissionError):
        return Forbidden(f"{text}; expected root, or a member of its group")
    return TunedError(text)


def _verdict(
    client: Client,
    name: str,
    following: Generator[Event, None, None] | None,
    before: ExperimentSummary | None,
) -> str:
    """The daemon's answer to the file, in words. Raises Conflict if it rejects it."""
    if following is None:
        return f"{name} submitted; the daemon does not run, and will take it when it starts"
    for event in following:
        if event["event"] == "experiment-taken" and event.get("experiment") == name:
            return fleet.taken(name, before)
        if event["event"] == "experiment-same" and event.get("file") == f"{name}.toml":
            return fleet.unchanged(client.get(experiment_path(name), ExperimentView)["summary"])
        if event["event"] == "experiment-rejected" and event.get("file") == f"{name}.toml":
            raise Conflict(f"{name} submitted and rejected: {event.get('message', 'see its .error file')}")
    return f"{name} submitted; the daemon has not taken it yet, see tunectl status"


def example_point(parsed: Experiment) -> Point:
    """The point that would be evaluated first, if no sampler were asked."""
    if parsed.points:
        return parsed.points[0]
    # The same one at each check: a description should not change by itself.
    return parsed.space.uniform(random.Random(0))  # noqa: S311


def point_text(point: Point) -> str:
    values = point.values.items()
    return " ".join(f"{name}={number(v) if isinstance(v, float) else v}" for name, v in values)
