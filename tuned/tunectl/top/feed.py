"""Questions to the daemon in threads of their own, so that the screen never waits for an answer.

It owns when the daemon is asked: at once for another page, soon after an event, and again after a while. It
delivers each answer from its thread, and knows no page.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuned.errors import TunedError
from tuned.tunectl.client import Client, ReaderGone

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuned.tunectl.top.changes import Change
    from tuned.tunectl.top.paper import Page, Picture

#: Other hosts send this one no events, and spans grow.
REFRESH_SECONDS = 2.0

#: Many events make one question.
_GATHER_SECONDS = 0.25

#: An answer that takes long is asked for less often.
_REST_FACTOR = 4.0

_RECONNECT_SECONDS = 1.0

#: A daemon that takes longer counts as away.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    page: Page
    #: None if the daemon gave none, and then there is a problem.
    picture: Picture | None = None
    problem: TunedError | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The word on a change that a person asked for."""

    text: str


class Feed:
    """Belongs to the thread that made it, but for what its own threads do."""

    def __init__(self, client: Client, deliver: Callable[[Delivery | Told], None]) -> None:
        """``deliver`` is called in other threads."""
        self._client = Client(client.paths, answer_seconds=ANSWER_SECONDS)
        self._deliver = deliver
        self._page: Page | None = None
        #: Something may have changed.
        self._is_due = threading.Event()
        #: A person waits for the answer.
        self._is_urgent = threading.Event()
        self._is_over = threading.Event()
        self._read_end, self._write_end = os.pipe()
        self._threads = [
            threading.Thread(target=each, name=each.__name__, daemon=True)
            for each in (self._ask_again_and_again, self._follow_events)
        ]

    def watch(self, page: Page) -> None:
        """Asks for this page from now on."""
        self._page = page
        self.hurry()
        for each in self._threads:
            if each.ident is None:
                each.start()

    def change(self, change: Change) -> None:
        """Makes it, and looks at once what came of it."""
        threading.Thread(target=self._change, args=(change,), name="change", daemon=True).start()

    def _change(self, change: Change) -> None:
        self._deliver(Told(text=change.make(self._client)))
        self.hurry()

    def hurry(self) -> None:
        self._is_due.set()
        self._is_urgent.set()

    def stop(self) -> None:
        """Does not wait for an answer that is under way."""
        if not self._is_over.is_set():
            self._is_over.set()
            self.hurry()
            os.close(self._read_end)

    def _ask_again_and_again(self) -> None:
        while not self._is_over.is_set():
            self._is_due.clear()
            self._is_urgent.clear()
            began = time.monotonic()
            assert self._page is not None
            self._ask(self._page)
            rest = max(_GATHER_SECONDS, _REST_FACTOR * (time.monotonic() - began))
            if not self._is_urgent.wait(rest):
                self._is_due.wait(REFRESH_SECONDS)

    def _ask(self, page: Page) -> None:
        try:
            for picture in page.pictures(self._client):
                if self._is_over.is_set():
                    return
                self._deliver(Delivery(page=page, picture=picture))
        except TunedError as error:
            self._deliver(Delivery(page=page, problem=error))

    def _follow_events(self) -> None:
        """Events say when to look, the answers say what is so: one that is lost does no harm."""
        while not self._is_over.is_set():
            with contextlib.suppress(TunedError, ReaderGone):
                for _ in self._client.events(reader=self._write_end):
                    self._is_due.set()
            # The daemon is away, or has another state than before.
            self._is_due.set()
            self._is_over.wait(_RECONNECT_SECONDS)
        os.close(self._write_end)
