"""The parts that all commands of tunectl share: the client, the canvas, the common arguments and options.

It knows no single command.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tuned.config.paths import socket_candidates
from tuned.domain.names import NAME, NAME_EXPECTED
from tuned.errors import NotFound, TunedError
from tuned.protocol.experiments import ExperimentsView
from tuned.protocol.trials import TrialsView
from tuned.tunectl.client import ANSWER_SECONDS, Client, experiment_path
from tuned.tunectl.output import json_text
from tuned.tunectl.text import Canvas, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


DONE, FAILED, UNREACHABLE = 0, 1, 3


#: A shell that completes a word waits no longer.
_COMPLETION_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Session:
    """The client and the canvas of this invocation."""

    client: Client
    canvas: Canvas


def client_of(
    socket: Path | None, wait_seconds: int = 0, *, answer_seconds: float = ANSWER_SECONDS
) -> Client:
    paths = socket_candidates(os.environ) if socket is None else [socket]
    return Client(
        paths,
        answer_seconds=answer_seconds,
        wait_seconds=wait_seconds,
        on_wait=lambda text: click.echo(f"tunectl: {printable(text)}", err=True),
    )


def _completing_client(context: click.Context) -> Client:
    return client_of(context.find_root().params.get("socket"), answer_seconds=_COMPLETION_SECONDS)


def _complete_name(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    with contextlib.suppress(TunedError):
        found = _completing_client(context).get("/v1/experiments", ExperimentsView)["experiments"]
        names = [each["name"] for each in found]
        # Any other name is none of ours, and the shell might obey it.
        return [name for name in names if name.startswith(incomplete) and NAME.fullmatch(name)]
    return []


def _complete_trial(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    with contextlib.suppress(TunedError):
        path = experiment_path(context.params["name"], "trials")
        found = _completing_client(context).get(path, TrialsView)["trials"]
        return [str(each["number"]) for each in found if str(each["number"]).startswith(incomplete)]
    return []


def _require_name(context: click.Context, _: click.Parameter, name: str | None) -> str | None:
    if name is not None and not context.resilient_parsing and not NAME.fullmatch(name):
        raise NotFound(f"cannot find experiment {name}: a name is {NAME_EXPECTED}")
    return name


name_argument = click.argument("name", shell_complete=_complete_name, callback=_require_name)

optional_name_argument = click.argument(
    "name", shell_complete=_complete_name, callback=_require_name, required=False
)


def trial_argument(*, required: bool = True) -> Callable[[Callable[..., object]], Callable[..., object]]:
    number = click.IntRange(min=0, max=2**31 - 1)
    return click.argument("trial", type=number, required=required, shell_complete=_complete_trial)


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as JSON.")


def print_view(as_json: bool, view: object, lines: Callable[[], Iterable[str]]) -> None:
    click.echo(json_text(view, indent=2) if as_json else "\n".join(lines()))
