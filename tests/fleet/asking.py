"""Requests to a host by way of another one, and what must have become of them.

A host logs each request that it obeys, with its time. That is held against what ``tunectl`` said to the one
who asked, and against the ends of the host's daemon.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.acceptance.daemon import TUNECTL
from tests.acceptance.forked import plain_environment
from tests.fleet.hosts import FleetHost
from tests.fleet.lapse import Lapse
from tests.fleet.ledger import moment_of, now

COMMANDS = ("drain", "abort", "restart")

#: Nobody has obeyed, says ``tunectl`` with these.
DENIALS = ("request is withdrawn", "it is dead or has stopped", "there is none of this name")

#: The request is for nobody any more so long after nobody knows what became of it: three beats, and room.
EXPIRED_SECONDS = 5.0

#: A daemon that obeyed ends in so long, with its longest trial and a slow database.
END_SECONDS = 90.0


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, and what was said to the one who asked."""

    command: str
    target: str
    asked_on: str
    asked: float
    answered: float | None = None
    status: int | None = None
    said: str = ""

    @property
    def is_denied(self) -> bool:
        return any(denial in self.said for denial in DENIALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obeyed:
    """A request as its host logged it."""

    command: str
    host: str
    asked_on: str
    at: float
    is_refused: bool = False


class Asker:
    """Asks one request after the other. Belongs to one thread."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_busy(self) -> bool:
        """The newest request has no answer, or may still be obeyed."""
        newest = self.requests[-1] if self.requests else None
        return newest is not None and (newest.answered is None or now() < newest.answered + EXPIRED_SECONDS)

    def ask(self, command: str, target: FleetHost, asked_on: FleetHost) -> None:
        self.requests.append(
            Request(command=command, target=target.name, asked_on=asked_on.name, asked=now())
        )
        self._process = subprocess.Popen(
            [*TUNECTL, "--socket", str(asked_on.socket), command, "--host", target.name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=plain_environment(), cwd="/",
        )  # fmt: skip

    def note_answer(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            newest = self.requests[-1]
            newest.said = self._process.communicate()[0].strip()
            newest.status, newest.answered = self._process.returncode, now()
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def obeyed_by(host: FleetHost) -> list[Obeyed]:
    """All requests that a host has ever taken."""
    found: list[Obeyed] = []
    for record in host.logged():
        if record["event"] == "request of another host":
            found.append(
                Obeyed(
                    command=record["command"],
                    host=host.name,
                    asked_on=record["asked_on"],
                    at=moment_of(record["timestamp"]),
                )
            )
        elif record["event"] == "request refused":
            last = found.pop()
            found.append(
                Obeyed(
                    command=last.command, host=host.name, asked_on=last.asked_on, at=last.at, is_refused=True
                )
            )
    return found


def broken(
    requests: Sequence[Request],
    obeyed: Sequence[Obeyed],
    hosts: Mapping[str, FleetHost],
    lapses: Sequence[Lapse] = (),
) -> dict[str, list[str]]:
    """The broken promises of requests, in words."""
    taken, extra = _matched(requests, obeyed, lapses)
    return {
        "obeyed twice or unasked": [str(each) for each in extra],
        "told another thing than obeyed": [
            f"{request}: {each}"
            for request, each in zip(requests, taken, strict=True)
            if not _is_told_right(request, each)
        ],
        "obeyed and did not end": [
            str(each)
            for each in taken
            if each is not None and not each.is_refused and not _has_ended(hosts[each.host], each)
        ],
    }


def _matched(
    requests: Sequence[Request], obeyed: Sequence[Obeyed], lapses: Sequence[Lapse]
) -> tuple[list[Obeyed | None], list[Obeyed]]:
    """Of each request what was made of it; and what was made of none."""
    taken: list[Obeyed | None] = [None] * len(requests)
    extra = []
    for each in sorted(obeyed, key=lambda each: each.at):
        place = max((n for n, request in enumerate(requests) if request.asked <= each.at), default=None)
        if place is not None and _is_of(requests[place], each) and taken[place] is None:
            taken[place] = each
        elif not any(lapse.ended <= each.at <= lapse.ended + EXPIRED_SECONDS for lapse in lapses):
            # A database that forgot that a request was taken gives it again, until it expires.
            extra.append(each)
    return taken, extra


def _is_of(request: Request, each: Obeyed) -> bool:
    return (request.command, request.target, request.asked_on) == (each.command, each.host, each.asked_on)


def _is_told_right(request: Request, each: Obeyed | None) -> bool:
    if request.status == 0:
        return each is not None and not each.is_refused
    # Of a request whose own host or database went away, nobody knows.
    return request.status is not None and not (request.is_denied and each is not None)


def _has_ended(host: FleetHost, each: Obeyed) -> bool:
    return any(each.at <= at <= each.at + END_SECONDS for at in (*host.launches, *host.restarts))
