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
from tuned.control.router import Asked, Route, Who, bad_option, dispatch
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


async def _status(asked: Asked) -> web.StreamResponse:
    return server.json_response(await asked.host.status())


async def _experiments(asked: Asked) -> web.StreamResponse:
    return server.json_response(ExperimentsView(experiments=list(await asked.host.experiments())))


async def _experiment(asked: Asked) -> web.StreamResponse:
    view = await asked.host.experiment(asked.name)
    if not asked.is_trusted:
        view = view.copy()
        view.pop("env", None)
        view["failures"] = [without_output(trial) for trial in view["failures"]]
    return server.json_response(view)


async def _trials(asked: Asked) -> web.StreamResponse:
    state = asked.option("state")
    known = next((each for each in TRIAL_STATES if each == state), None)
    if state is not None and known is None:
        raise bad_option("state", state, f"one of: {', '.join(TRIAL_STATES)}")
    before = asked.number("before", 0, 2**31 - 1)
    limit = asked.number("limit", 1, MOST_TRIALS_PER_PAGE) or TRIALS_PER_PAGE
    trials = await asked.host.trials(asked.name, state=known, before=before, limit=limit)
    shown = [trial if asked.is_trusted else without_output(trial) for trial in trials]
    following = shown[-1]["number"] if len(shown) == limit else None
    return server.json_response(TrialsView(trials=shown, before=following))


async def _story(asked: Asked) -> web.StreamResponse:
    view = await asked.host.story(asked.name, asked.trial)
    return server.json_response(view if asked.is_trusted else story_without_output(view))


async def _best(asked: Asked) -> web.StreamResponse:
    return server.json_response(BestsView(best=list(await asked.host.best(asked.name))))


async def _logs(asked: Asked) -> web.StreamResponse:
    follow = asked.number("follow", 0, 1) == 1
    chunks = await asked.host.logs(asked.name, asked.number("trial", 0, 2**31 - 1), follow=follow)
    return await server.stream(asked.request, "text/plain; charset=utf-8", chunks)


async def _hosts(asked: Asked) -> web.StreamResponse:
    return server.json_response(HostsView(hosts=list(await asked.host.hosts())))


async def _events(asked: Asked) -> web.StreamResponse:
    return await server.stream(asked.request, NDJSON, _event_lines(asked))


async def _event_lines(asked: Asked) -> AsyncGenerator[bytes, None]:
    with asked.host.events.subscribe() as subscription:
        # Taken after the subscription began: what is not in it comes as an event.
        status = await asked.host.status()
        yield server.json_line(events.make("snapshot", asked.host.events.host, status=status))
        async for event in subscription:
            yield server.json_line(event if asked.is_trusted else event_without_output(event))


async def _metrics(asked: Asked) -> web.StreamResponse:
    status, further = await asked.host.status(), await asked.host.metrics()
    text = metrics.render([*metrics.of_status(status), *further])
    return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _doctor(asked: Asked) -> web.StreamResponse:
    return server.json_response(DoctorView(findings=list(await asked.host.doctor())))


async def _fix(asked: Asked) -> web.StreamResponse:
    return server.json_response(await _done(asked.host.fix()))


async def _drain(asked: Asked) -> web.StreamResponse:
    return server.json_response(StateView(state=await _done(asked.host.drain())))


async def _abort(asked: Asked) -> web.StreamResponse:
    return server.json_response(StateView(state=await _done(asked.host.abort())))


async def _cancel(asked: Asked) -> web.StreamResponse:
    return server.json_response(await _done(asked.host.cancel(asked.name)))


async def _pause(asked: Asked) -> web.StreamResponse:
    return server.json_response(await _done(asked.host.pause(asked.name)))


async def _retry(asked: Asked) -> web.StreamResponse:
    text = asked.option("cause")
    cause = next((each for each in Cause if each == text), None)
    if text is not None and cause is None:
        raise bad_option("cause", text, f"one of: {', '.join(Cause)}")
    return server.json_response(await _done(asked.host.retry(asked.name, cause)))


async def _replace(asked: Asked) -> web.StreamResponse:
    content = await asked.request.read()
    return server.json_response(await _done(asked.host.replace(asked.name, content)))


async def _resume(asked: Asked) -> web.StreamResponse:
    return server.json_response(await _done(asked.host.resume(asked.name)))


ROUTES = (
    Route("GET", "/v1/status", Who.ANYONE, _status),
    Route("GET", "/v1/hosts", Who.ANYONE, _hosts),
    Route("GET", "/v1/events", Who.ANYONE, _events),
    Route("GET", "/v1/experiments", Who.ANYONE, _experiments),
    Route("GET", "/v1/experiments/{name}", Who.ANYONE, _experiment),
    Route("GET", "/v1/experiments/{name}/trials", Who.ANYONE, _trials, TRIALS_OPTIONS),
    Route("GET", "/v1/experiments/{name}/trials/{number}", Who.ANYONE, _story),
    Route("GET", "/v1/experiments/{name}/best", Who.ANYONE, _best),
    Route("GET", "/v1/experiments/{name}/logs", Who.TRUSTED, _logs, LOGS_OPTIONS),
    Route("GET", "/metrics", Who.ANYONE, _metrics),
    Route("GET", "/v1/doctor", Who.ANYONE, _doctor),
    Route("POST", "/v1/doctor/fix", Who.TRUSTED, _fix),
    Route("POST", "/v1/drain", Who.TRUSTED, _drain),
    Route("POST", "/v1/abort", Who.TRUSTED, _abort),
    Route("POST", "/v1/experiments/{name}/cancel", Who.TRUSTED, _cancel),
    Route("POST", "/v1/experiments/{name}/pause", Who.TRUSTED, _pause),
    Route("POST", "/v1/experiments/{name}/resume", Who.TRUSTED, _resume),
    Route("POST", "/v1/experiments/{name}/retry", Who.TRUSTED, _retry, RETRY_OPTIONS),
    Route("POST", "/v1/experiments/{name}/replace", Who.TRUSTED, _replace),
)


#: Changes whose peer may have gone meanwhile; the loop itself holds tasks only weakly.
_changes: set[asyncio.Task[object]] = set()


async def _done(change: Coroutine[object, None, T]) -> T:
    """Does the change to its end, also if the peer hangs up on the way."""
    task = asyncio.ensure_future(change)
    _changes.add(task)
    task.add_done_callback(_changes.discard)
    return await asyncio.shield(task)
