"""News sent over HTTP: one POST, within bounds, and why it did not arrive.

An address may hold a secret: no word that comes from here shows more of it than its host. Redirections are
not followed, because the receiver would get the news from an address that nobody wrote down.
"""

from __future__ import annotations

import email.utils
import os
import socket
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from tuned import __version__
from tuned.config.notify import shown_url
from tuned.domain.news.notices import KEPT_SECONDS

#: A whole try, from the name's look-up to the status.
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A try that did not deliver."""

    #: For people, without a secret.
    problem: str
    #: The receiver asks for this pause at least.
    pause_seconds: float = 0.0


async def post(url: str, body: bytes, notice_id: str, *, seconds: float = TIMEOUT_SECONDS) -> Failed | None:
    """Sends JSON. Returns None if the receiver took it.

    No proxy of the environment is used, and no ``.netrc``.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"tuned/{__version__}",
        # The same for each try of one notice.
        "Idempotency-Key": notice_id,
    }
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return _failure(url, response)
    except TimeoutError:
        return Failed(problem=f"{shown_url(url)} gave no answer within {seconds:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Failed(problem=f"{shown_url(url)} cannot be reached: {_reason(error)}")


def _failure(url: str, response: aiohttp.ClientResponse) -> Failed | None:
    status, location = response.status, response.headers.get("Location")
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    problem = f"{shown_url(url)} answered {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST and location is not None:
        problem += f", a redirection{_place(location)}, which is not followed: give the new address"
    return Failed(problem=problem, pause_seconds=_retry_after(response.headers.get("Retry-After", "")))


def _place(location: str) -> str:
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return f" to {host}" if host else ""


def _retry_after(value: str) -> float:
    """In seconds, at most as long as news is kept; 0 if it cannot be read."""
    if value.strip().isdecimal():
        seconds = float(value)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(0.0, min(seconds, KEPT_SECONDS))


def _reason(error: Exception) -> str:
    """Without the address: only the words of the system and of the certificate's check have none."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return getattr(cause, "verify_message", "") or "its certificate is not valid"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        # The loop's own words name addresses, and those of a name that is not found have no number of errno.
        if isinstance(cause, socket.gaierror) or cause.errno is None:
            return cause.strerror or type(cause).__name__
        return os.strerror(cause.errno)
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    return type(error).__name__
