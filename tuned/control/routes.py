"""The table of routes: method, path, who may ask, and handler; docs/reference/protocol.md specifies it.

A handler reads a request's options and hands on what the host answers. It does nothing that is asked for
itself, and hides nothing: router.py leaves out the fields that the peer may not see.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, TypeVar

from tuned import events
from tuned.control import metrics, server
from tuned.control.answers import EventLines, Output, Text
from tuned.control.host import Host
from tuned.control.peers import Access, Owner
from tuned.control.router import Call, Route, bad_option, dispatching, reads_later
from tuned.control.server import Limits
from tuned.domain.ending import Cause
from tuned.domain.states import HostCommand
from tuned.protocol.disk import CleanView
from tuned.protocol.events import Event
from tuned.protocol.experiments import (
    DeletedView,
    ExperimentSummary,
    ExperimentsView,
    ExperimentView,
    ReplacedView,
    RetryView,
)
from tuned.protocol.fields import TRIAL_STATES
from tuned.protocol.fleet import DoctorView, FixedView, HostReply, HostsView
from tuned.protocol.host import StateView, Status
from tuned.protocol.limits import MOST_IMPORTED_BYTES, MOST_TAIL_BYTES, MOST_TRIALS_PER_PAGE, TRIALS_PER_PAGE
from tuned.protocol.tables import ExportView, ImportedView
from tuned.protocol.trials import BestsView, ImprovementsView, StoryView, TrialsView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path


T = TypeVar("T")


_HIGHEST_NUMBER = 2**31 - 1


@contextlib.asynccontextmanager
async def serve(
    host: Host, path: Path, *, mode: int = 0o666, limits: Limits | None = None
) -> AsyncIterator[None]:
    """Answers for the host on the socket at ``path``; at the end lets streams end and removes the socket.

    Raises Conflict if another daemon answers there, InvalidInput if nobody can listen there.
    """
    answer = dispatching(ROUTES, host, Owner.of_this_process())
    later = reads_later(ROUTES)
    async with server.serving(answer, path, mode=mode, limits=limits or Limits(), reads_later=later):
        try:
            yield
        finally:
            host.events.close()


async def _status(call: Call) -> Status:
    return await call.host.status(has_output=call.number("output", 0, 1) == 1)


async def _experiments(call: Call) -> ExperimentsView:
    return ExperimentsView(experiments=list(await call.host.experiments()))


async def _experiment(call: Call) -> ExperimentView:
    return await call.host.experiment(call.name)


async def _trials(call: Call) -> TrialsView:
    state = call.option("state")
    known = next((each for each in TRIAL_STATES if each == state), None)
    if state is not None and known is None:
        raise bad_option("state", state, f"one of: {', '.join(TRIAL_STATES)}")
    before = call.number("before", 0, _HIGHEST_NUMBER)
    limit = call.number("limit", 1, MOST_TRIALS_PER_PAGE) or TRIALS_PER_PAGE
    sort = call.option("sort")
    if sort not in {None, "value"}:
        raise bad_option("sort", str(sort), "value")
    if sort is not None and before is not None:
        raise bad_option("before", str(before), "no before, because numbers say nothing of values")
    trials = list(
        await call.host.trials(
            call.name, state=known, before=before, limit=limit, is_by_value=sort is not None
        )
    )
    has_more = len(trials) == limit and sort is None
    return TrialsView(trials=trials, before=trials[-1]["number"] if has_more else None)


async def _story(call: Call) -> StoryView:
    return await call.host.story(call.name, call.trial)


async def _best(call: Call) -> BestsView:
    limit = call.number("limit", 1, MOST_TRIALS_PER_PAGE)
    return await call.host.best(call.name, limit)


async def _improvements(call: Call) -> ImprovementsView:
    return await call.host.improvements(call.name)


async def _logs(call: Call) -> Output:
    number, tail = call.number("trial", 0, _HIGHEST_NUMBER), call.number("tail", 1, MOST_TAIL_BYTES)
    follow = call.number("follow", 0, 1) == 1
    is_setup = call.number("setup", 0, 1) == 1
    return Output(await call.host.logs(call.name, number, follow=follow, is_setup=is_setup, tail=tail))


async def _hosts(call: Call) -> HostsView:
    return HostsView(hosts=list(await call.host.hosts()))


async def _forget(call: Call) -> HostsView:
    return HostsView(hosts=list(await _done(call.host.forget(call.name))))


async def _command(call: Call) -> HostReply:
    command = HostCommand(call.request.path.rpartition("/")[2])
    return await _done(call.host.command(call.name, command, call.user))


async def _events(call: Call) -> EventLines:
    return EventLines(_following(call.host))


async def _following(host: Host) -> AsyncGenerator[Event, None]:
    with host.events.subscribe() as subscription:
        # Taken after the subscription began: a change that is not in it comes as an event.
        status = await host.status()
        yield events.make("snapshot", host.events.host, status=status)
        async for event in subscription:
            yield event


async def _metrics(call: Call) -> Text:
    return Text(await call.host.metrics(), metrics.CONTENT_TYPE)


async def _doctor(call: Call) -> DoctorView:
    return DoctorView(findings=list(await call.host.doctor()))


async def _fix(call: Call) -> FixedView:
    return await _done(call.host.fix())


async def _restart(call: Call) -> StateView:
    return StateView(state=await _done(call.host.restart()))


async def _drain(call: Call) -> StateView:
    return StateView(state=await _done(call.host.drain()))


async def _abort(call: Call) -> StateView:
    return StateView(state=await _done(call.host.abort()))


async def _cancel(call: Call) -> ExperimentSummary:
    return await _done(call.host.cancel(call.name, call.user))


async def _pause(call: Call) -> ExperimentSummary:
    return await _done(call.host.pause(call.name))


async def _resume(call: Call) -> ExperimentSummary:
    return await _done(call.host.resume(call.name))


async def _retry(call: Call) -> RetryView:
    text = call.option("cause")
    cause = next((each for each in Cause if each == text), None)
    if text is not None and cause is None:
        raise bad_option("cause", text, f"one of: {', '.join(Cause)}")
    return await _done(call.host.retry(call.name, cause))


async def _replace(call: Call) -> ReplacedView:
    code_of = call.uid if call.number("code", 0, 1) == 1 else None
    return await _done(call.host.replace(call.name, await call.request.read(), call.user, code_of=code_of))


async def _clean(call: Call) -> CleanView:
    is_dry = call.number("dry_run", 0, 1) == 1
    return await _done(call.host.clean(call.name or None, is_dry=is_dry))


async def _export(call: Call) -> ExportView:
    after = call.number("after", 0, _HIGHEST_NUMBER)
    limit = call.number("limit", 1, MOST_TRIALS_PER_PAGE) or MOST_TRIALS_PER_PAGE
    has_reports = call.number("reports", 0, 1) == 1
    after = -1 if after is None else after
    return await call.host.export(call.name, after=after, limit=limit, has_reports=has_reports)


async def _import(call: Call) -> ImportedView:
    return await _done(call.host.import_rows(call.name, call.body))


async def _delete(call: Call) -> DeletedView:
    return await _done(call.host.delete(call.name, is_forced=call.number("force", 0, 1) == 1))


ROUTES = (
    Route("GET", "/v1/status", Access.ANYONE, _status, frozenset({"output"})),
    Route("GET", "/v1/hosts", Access.ANYONE, _hosts),
    Route("GET", "/v1/events", Access.ANYONE, _events),
    Route("GET", "/v1/experiments", Access.ANYONE, _experiments),
    Route("GET", "/v1/experiments/{name}", Access.ANYONE, _experiment),
    Route(
        "GET",
        "/v1/experiments/{name}/trials",
        Access.ANYONE,
        _trials,
        frozenset({"state", "before", "limit", "sort"}),
    ),
    Route("GET", "/v1/experiments/{name}/trials/{number}", Access.ANYONE, _story),
    Route("GET", "/v1/experiments/{name}/best", Access.ANYONE, _best, frozenset({"limit"})),
    Route("GET", "/v1/experiments/{name}/improvements", Access.ANYONE, _improvements),
    Route(
        "GET",
        "/v1/experiments/{name}/export",
        Access.ANYONE,
        _export,
        frozenset({"after", "limit", "reports"}),
    ),
    Route(
        "GET",
        "/v1/experiments/{name}/logs",
        Access.TRUSTED,
        _logs,
        frozenset({"trial", "follow", "setup", "tail"}),
    ),
    Route("GET", "/metrics", Access.ANYONE, _metrics),
    Route("GET", "/v1/doctor", Access.ANYONE, _doctor),
    Route("POST", "/v1/doctor/fix", Access.TRUSTED, _fix, asks_database=False),
    Route("POST", "/v1/hosts/{name}/forget", Access.TRUSTED, _forget),
    *(
        Route("POST", f"/v1/hosts/{{name}}/{command}", Access.TRUSTED, _command, asks_database=False)
        for command in HostCommand
    ),
    Route("POST", "/v1/drain", Access.TRUSTED, _drain, asks_database=False),
    Route("POST", "/v1/abort", Access.TRUSTED, _abort, asks_database=False),
    Route("POST", "/v1/restart", Access.TRUSTED, _restart, asks_database=False),
    Route("POST", "/v1/experiments/{name}/cancel", Access.TRUSTED, _cancel),
    Route("POST", "/v1/experiments/{name}/pause", Access.TRUSTED, _pause),
    Route("POST", "/v1/experiments/{name}/resume", Access.TRUSTED, _resume),
    Route("POST", "/v1/experiments/{name}/retry", Access.TRUSTED, _retry, frozenset({"cause"})),
    Route("POST", "/v1/experiments/{name}/replace", Access.TRUSTED, _replace, frozenset({"code"})),
    Route("POST", "/v1/experiments/{name}/import", Access.TRUSTED, _import, body_bytes=MOST_IMPORTED_BYTES),
    Route("POST", "/v1/experiments/{name}/clean", Access.TRUSTED, _clean, frozenset({"dry_run"})),
    Route("POST", "/v1/clean", Access.TRUSTED, _clean, frozenset({"dry_run"})),
    Route("POST", "/v1/experiments/{name}/delete", Access.TRUSTED, _delete, frozenset({"force"})),
)


#: Changes whose peer may have gone meanwhile; the loop itself holds tasks only weakly.
_changes: set[asyncio.Task[object]] = set()


async def _done(change: Coroutine[object, None, T]) -> T:
    """Makes the change to its end, also if the peer hangs up on the way."""
    task = asyncio.ensure_future(change)
    _changes.add(task)
    task.add_done_callback(_changes.discard)
    return await asyncio.shield(task)
