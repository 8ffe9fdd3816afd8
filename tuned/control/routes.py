"""The control socket: one table of method, path, who may, and handler; docs/protocol.md specifies it.

It owns nothing but the socket: what is asked for, the daemon does, through Host. What changes something, and
what trials print, is for those whom the daemon trusts; the credentials of the peer decide, for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from tuned import events
from tuned.control import metrics, server
from tuned.control.host import Host
from tuned.control.peers import Owner, Peer
from tuned.control.redaction import event_without_output, story_without_output, without_output
from tuned.control.router import Access, Call, Route, bad_option, dispatch
from tuned.control.server import Limits
from tuned.domain.ending import Cause
from tuned.protocol import (
    TRIAL_STATES,
    BestsView,
    DoctorView,
    ExperimentsView,
    HostsView,
    StateView,
    TrialsView,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
    from pathlib import Path


T = TypeVar("T")


NDJSON = "application/x-ndjson"


#: How many trials one request returns, if it does not say, and at most.
TRIALS_PER_PAGE = 100


MOST_TRIALS_PER_PAGE = 1000


TRIALS_OPTIONS = frozenset({"state", "before", "limit"})


LOGS_OPTIONS = frozenset({"trial", "follow"})


RETRY_OPTIONS = frozenset({"cause"})


@contextlib.asynccontextmanager
async def serve(
    host: Host, path: Path, *, mode: int = 0o666, limits: Limits | None = None
) -> AsyncIterator[None]:
    """Answers for the host on the socket at ``path``; at the end lets streams end and removes the socket.

    Raises Conflict if another daemon answers there, InvalidInput if nobody can listen there.
    """
    owner = Owner.of_this_process()

    async def answer(request: web.BaseRequest, peer: Peer) -> web.StreamResponse:
        return await dispatch(ROUTES, host, owner, request, peer)

    async with server.serving(answer, path, mode=mode, limits=limits or Limits()):
        try:
            yield
        finally:
            host.events.close()


async def _status(call: Call) -> web.StreamResponse:
    return server.json_response(await call.host.status())


async def _experiments(call: Call) -> web.StreamResponse:
    return server.json_response(ExperimentsView(experiments=list(await call.host.experiments())))


async def _experiment(call: Call) -> web.StreamResponse:
    view = await call.host.experiment(call.name)
    if not call.is_trusted:
        view = view.copy()
        view.pop("env", None)
        view["failures"] = [without_output(trial) for trial in view["failures"]]
    return server.json_response(view)


async def _trials(call: Call) -> web.StreamResponse:
    state = call.option("state")
    known = next((each for each in TRIAL_STATES if each == state), None)
    if state is not None and known is None:
        raise bad_option("state", state, f"one of: {', '.join(TRIAL_STATES)}")
    before = call.number("before", 0, 2**31 - 1)
    limit = call.number("limit", 1, MOST_TRIALS_PER_PAGE) or TRIALS_PER_PAGE
    trials = await call.host.trials(call.name, state=known, before=before, limit=limit)
    shown = [trial if call.is_trusted else without_output(trial) for trial in trials]
    following = shown[-1]["number"] if len(shown) == limit else None
    return server.json_response(TrialsView(trials=shown, before=following))


async def _story(call: Call) -> web.StreamResponse:
    view = await call.host.story(call.name, call.trial)
    return server.json_response(view if call.is_trusted else story_without_output(view))


async def _best(call: Call) -> web.StreamResponse:
    return server.json_response(BestsView(best=list(await call.host.best(call.name))))


async def _logs(call: Call) -> web.StreamResponse:
    follow = call.number("follow", 0, 1) == 1
    chunks = await call.host.logs(call.name, call.number("trial", 0, 2**31 - 1), follow=follow)
    return await server.stream(call.request, "text/plain; charset=utf-8", chunks)


async def _hosts(call: Call) -> web.StreamResponse:
    return server.json_response(HostsView(hosts=list(await call.host.hosts())))


async def _events(call: Call) -> web.StreamResponse:
    return await server.stream(call.request, NDJSON, _event_lines(call))


async def _event_lines(call: Call) -> AsyncGenerator[bytes, None]:
    with call.host.events.subscribe() as subscription:
        # Taken after the subscription began: what is not in it comes as an event.
        status = await call.host.status()
        yield server.json_line(events.make("snapshot", call.host.events.host, status=status))
        async for event in subscription:
            yield server.json_line(event if call.is_trusted else event_without_output(event))


async def _metrics(call: Call) -> web.StreamResponse:
    status, further = await call.host.status(), await call.host.metrics()
    text = metrics.render([*metrics.of_status(status), *further])
    return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _doctor(call: Call) -> web.StreamResponse:
    return server.json_response(DoctorView(findings=list(await call.host.doctor())))


async def _fix(call: Call) -> web.StreamResponse:
    return server.json_response(await _done(call.host.fix()))


async def _drain(call: Call) -> web.StreamResponse:
    return server.json_response(StateView(state=await _done(call.host.drain())))


async def _abort(call: Call) -> web.StreamResponse:
    return server.json_response(StateView(state=await _done(call.host.abort())))


async def _cancel(call: Call) -> web.StreamResponse:
    return server.json_response(await _done(call.host.cancel(call.name)))


async def _pause(call: Call) -> web.StreamResponse:
    return server.json_response(await _done(call.host.pause(call.name)))


async def _retry(call: Call) -> web.StreamResponse:
    text = call.option("cause")
    cause = next((each for each in Cause if each == text), None)
    if text is not None and cause is None:
        raise bad_option("cause", text, f"one of: {', '.join(Cause)}")
    return server.json_response(await _done(call.host.retry(call.name, cause)))


async def _replace(call: Call) -> web.StreamResponse:
    content = await call.request.read()
    return server.json_response(await _done(call.host.replace(call.name, content)))


async def _resume(call: Call) -> web.StreamResponse:
    return server.json_response(await _done(call.host.resume(call.name)))


ROUTES = (
    Route("GET", "/v1/status", Access.ANYONE, _status),
    Route("GET", "/v1/hosts", Access.ANYONE, _hosts),
    Route("GET", "/v1/events", Access.ANYONE, _events),
    Route("GET", "/v1/experiments", Access.ANYONE, _experiments),
    Route("GET", "/v1/experiments/{name}", Access.ANYONE, _experiment),
    Route("GET", "/v1/experiments/{name}/trials", Access.ANYONE, _trials, TRIALS_OPTIONS),
    Route("GET", "/v1/experiments/{name}/trials/{number}", Access.ANYONE, _story),
    Route("GET", "/v1/experiments/{name}/best", Access.ANYONE, _best),
    Route("GET", "/v1/experiments/{name}/logs", Access.TRUSTED, _logs, LOGS_OPTIONS),
    Route("GET", "/metrics", Access.ANYONE, _metrics),
    Route("GET", "/v1/doctor", Access.ANYONE, _doctor),
    Route("POST", "/v1/doctor/fix", Access.TRUSTED, _fix),
    Route("POST", "/v1/drain", Access.TRUSTED, _drain),
    Route("POST", "/v1/abort", Access.TRUSTED, _abort),
    Route("POST", "/v1/experiments/{name}/cancel", Access.TRUSTED, _cancel),
    Route("POST", "/v1/experiments/{name}/pause", Access.TRUSTED, _pause),
    Route("POST", "/v1/experiments/{name}/resume", Access.TRUSTED, _resume),
    Route("POST", "/v1/experiments/{name}/retry", Access.TRUSTED, _retry, RETRY_OPTIONS),
    Route("POST", "/v1/experiments/{name}/replace", Access.TRUSTED, _replace),
)


#: Changes whose peer may have gone meanwhile; the loop itself holds tasks only weakly.
_changes: set[asyncio.Task[object]] = set()


async def _done(change: Coroutine[object, None, T]) -> T:
    """Does the change to its end, also if the peer hangs up on the way."""
    task = asyncio.ensure_future(change)
    _changes.add(task)
    task.add_done_callback(_changes.discard)
    return await asyncio.shield(task)
