"""optuna-dashboard below ``/optuna/``: its WSGI application in threads, with its addresses set below ours.

Its scripts ask for absolute addresses, and it has no setting for where they begin. So the page and the script
are served with another beginning in them: each of the texts below stands there, or the dashboard
does not start.
"""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import optuna_dashboard
from aiohttp import web
from optuna.storages import RDBStorage

from tuned.errors import TunedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import WSGIApplication

    from tuned.storage.database import Database

PREFIX = "/optuna"

#: A page asks for some things at once, and a plot may take a while.
_THREADS = 6

#: It takes artifacts by upload, and tuned keeps none.
_MOST_BODY_BYTES = 2**20

_FILES = Path(optuna_dashboard.__file__).parent

_PAGE = {'src="/static/': f'src="{PREFIX}/static/'}

_SCRIPT = {
    'url_prefix:"/dashboard"': f'url_prefix:"{PREFIX}/dashboard"',
    "${this.baseURL}/api/": f"{PREFIX}/api/",
    "`/csv/": f"`{PREFIX}/csv/",
    "`/artifacts/": f"`{PREFIX}/artifacts/",
    "](/artifacts/": f"]({PREFIX}/artifacts/",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Mount:
    """Answers requests below the prefix."""

    def __init__(self, database: Database) -> None:
        """Raises TunedError if this version of optuna-dashboard has other addresses."""
        # Connections that a restarted database has closed are noticed before they are used.
        options = {"pool_pre_ping": True, **database.engine_options}
        storage = RDBStorage(database.url, engine_kwargs=options, skip_table_creation=True)
        self._application: WSGIApplication = optuna_dashboard.wsgi(storage)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="optuna-dashboard")
        _page()
        _script()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX, _begin),
            web.get(f"{PREFIX}/", _begin),
            web.get(f"{PREFIX}/static/bundle.js", _serve_script),
            web.get(f"{PREFIX}/dashboard{{rest:(/.*)?}}", self._serve_page),
            web.route("*", f"{PREFIX}/{{rest:.*}}", self._serve),
        ]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve_page(self, request: web.Request) -> web.Response:
        """With the headers that it gives itself, its policy among them: its charts need more than ours do."""
        answer = await self._ask(request)
        if answer.status != 200:
            return _response(answer)
        return _response(_Answer(answer.status, answer.headers, _page()))

    async def _serve(self, request: web.Request) -> web.Response:
        return _response(await self._ask(request))

    async def _ask(self, request: web.Request) -> _Answer:
        if (request.content_length or 0) > _MOST_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(
                max_size=_MOST_BODY_BYTES, actual_size=request.content_length or 0
            )
        environ = _environ(request, await request.read())
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, _run, self._application, environ
        )


async def _begin(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": f"{PREFIX}/dashboard"})


async def _serve_script(_: web.Request) -> web.Response:
    response = web.Response(body=_script(), content_type="text/javascript", charset="utf-8")
    response.enable_compression()
    return response


@cache
def _page() -> bytes:
    return _placed(_FILES / "index.html", _PAGE)


@cache
def _script() -> bytes:
    return _placed(_FILES / "public" / "bundle.js", _SCRIPT)


def _placed(file: Path, texts: Mapping[str, str]) -> bytes:
    content = file.read_text(encoding="utf-8")
    for text, placed in texts.items():
        if text not in content:
            raise TunedError(f"cannot serve this version of optuna-dashboard: {file.name} has no {text!r}")
        content = content.replace(text, placed)
    return content.encode()


def _environ(request: web.Request, body: bytes) -> dict[str, Any]:
    path = unquote_to_bytes(request.raw_path.partition("?")[0].removeprefix(PREFIX)).decode("latin-1")
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": PREFIX,
        "PATH_INFO": path,
        "QUERY_STRING": request.query_string,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        # It reads the header without asking whether it is there.
        "HTTP_ACCEPT_ENCODING": "",
    }
    for name, value in request.headers.items():
        if name.lower() not in {"content-type", "content-length", "cookie", "authorization"}:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ


def _run(application: WSGIApplication, environ: dict[str, Any]) -> _Answer:
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        begun.append((status, headers))
        return lambda _: None

    parts: Iterable[bytes] = application(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = begun[-1]
    return _Answer(int(status.split()[0]), headers, body)


def _response(answer: _Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    for name, value in answer.headers:
        if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
            response.headers[name] = value
    return response
