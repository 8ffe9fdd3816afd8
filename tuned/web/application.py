"""The server: which address has which page, and who may ask."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from tuned.control.answers import json_line
from tuned.errors import NotFound, TunedError
from tuned.web import pages as pages_module
from tuned.web.guard import COOKIE, LOGIN
from tuned.web.live import Live
from tuned.web.rendering import path_of, render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tuned.web.guard import Guard
    from tuned.web.host import Host
    from tuned.web.mount import Mount
    from tuned.web.pages import Pages
    from tuned.web.rendering import Page

STATIC = Path(__file__).parent / "static"

#: A person can do this to an experiment, in the daemon's words.
CHANGES = ("pause", "resume", "cancel")

_NUMBER = r"{number:[0-9]{1,9}}"

#: A form has two fields.
_MOST_BYTES = 2**20


def application(*, guard: Guard, pages: Pages, host: Host, mount: Mount) -> web.Application:
    server = _Server(guard=guard, pages=pages, host=host)
    app = web.Application(middlewares=[guard.middleware()], client_max_size=_MOST_BYTES)
    app.add_routes(
        [
            web.get("/", server.fleet),
            web.get("/experiments/{name}", server.experiment),
            web.get(f"/experiments/{{name}}/trials/{_NUMBER}", server.trial),
            *(web.post(f"/experiments/{{name}}/{{verb:{verb}}}", server.change) for verb in CHANGES),
            web.get(LOGIN, server.ask_token),
            web.post(LOGIN, server.take_token),
            web.get("/favicon.ico", _icon),
            web.static("/static", STATIC),
            *mount.routes(),
        ]
    )

    async def end(_: web.Application) -> None:
        server.live.end()

    app.on_shutdown.append(end)
    return app


class _Server:
    def __init__(self, *, guard: Guard, pages: Pages, host: Host) -> None:
        self._guard, self._pages, self._host = guard, pages, host
        self.live = Live()

    async def fleet(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._pages.fleet, self._pages.fleet)

    async def experiment(self, request: web.Request) -> web.StreamResponse:
        make = functools.partial(self._pages.experiment, request.match_info["name"])
        return await self._answer(request, make, functools.partial(make, waits=True))

    async def trial(self, request: web.Request) -> web.StreamResponse:
        info = request.match_info
        make = functools.partial(self._pages.trial, info["name"], int(info["number"]))
        return await self._answer(request, make, make)

    async def change(self, request: web.Request) -> web.StreamResponse:
        name, verb = request.match_info["name"], request.match_info["verb"]
        try:
            await self._host.change(name, verb)
        except TunedError as error:
            return self._page(request, pages_module.problem(error))
        self._pages.reader.forget_look()
        return web.Response(status=303, headers={"Location": path_of(name)})

    async def ask_token(self, _: web.Request) -> web.StreamResponse:
        return _html(render("login.html", has_failed=False))

    async def take_token(self, request: web.Request) -> web.StreamResponse:
        given = (await request.post()).get("token", "")
        if not isinstance(given, str) or not self._guard.is_token(given.strip()):
            return _html(render("login.html", has_failed=True), 403)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(COOKIE, self._guard.cookie(), httponly=True, samesite="Strict", path="/")
        return response

    async def _answer(
        self,
        request: web.Request,
        make: Callable[[], Awaitable[Page]],
        make_whole: Callable[[], Awaitable[Page]],
    ) -> web.StreamResponse:
        """The page; with ``?format=json`` its twin, with ``?format=live`` its parts as they change."""
        form = request.query.get("format", "html")
        if form == "live":
            return await self.live.stream(request, request.path, make)
        try:
            if form not in {"html", "json"}:
                raise NotFound(f"found format={form}, expected json or none")
            page = await (make_whole if form == "json" else make)()
        except TunedError as error:
            page = pages_module.problem(error)
        return self._page(request, page)

    def _page(self, request: web.Request, page: Page) -> web.Response:
        if request.query.get("format") == "json":
            return web.Response(
                body=json_line(page.twin), status=page.status, content_type="application/json"
            )
        text = pages_module.whole(page, address=request.path, allows_changes=self._guard.allows_changes)
        return _html(text, page.status)


async def _icon(_: web.Request) -> web.StreamResponse:
    """For pages that name none: optuna-dashboard's."""
    return web.FileResponse(STATIC / "icon.svg")


def _html(text: str, status: int = 200) -> web.Response:
    response = web.Response(text=text, status=status, content_type="text/html")
    response.enable_compression()
    return response
