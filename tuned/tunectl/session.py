"""The parts that all commands of tunectl share: the client, the canvas, the common options.

It knows no single command.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from tuned.config.paths import socket_candidates
from tuned.errors import TunedError
from tuned.tunectl.client import Client
from tuned.tunectl.text import Canvas, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


DONE, FAILED, UNREACHABLE = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Session:
    """The client and the canvas of this invocation."""

    client: Client
    canvas: Canvas


def client_of(socket: Path | None, wait_seconds: int = 0) -> Client:
    paths = socket_candidates(os.environ) if socket is None else [socket]
    return Client(
        paths,
        wait_seconds=wait_seconds,
        on_wait=lambda text: click.echo(f"tunectl: {printable(text)}", err=True),
    )


def _complete_name(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    socket = context.find_root().params.get("socket")
    with contextlib.suppress(TunedError):
        found = client_of(socket).get("/v1/experiments")["experiments"]
        return [each["name"] for each in found if each["name"].startswith(incomplete)]
    return []


name_argument = click.argument("name", shell_complete=_complete_name)


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as JSON.")


def print_view(as_json: bool, view: object, lines: Callable[[], Iterable[str]]) -> None:
    click.echo(json.dumps(view, indent=2, ensure_ascii=False) if as_json else "\n".join(lines()))
