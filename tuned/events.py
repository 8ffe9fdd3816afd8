"""The host's events, from their publishers to all readers.

Publishing never waits and never fails: a reader that does not keep up loses events and is told how many.
Nothing is kept for later readers. All of it belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Unpack

from tuned.protocol.events import Event, EventFields, EventName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


#: How many events wait for one reader at most.
QUEUE_LENGTH = 1000


class Subscription:
    """One reader's bounded queue; iterating ends when the events are closed and the queue is read."""

    def __init__(self, host: str, length: int) -> None:
        self._host = host
        self._queue: deque[Event] = deque()
        self._length = length
        self._lost = 0
        self._is_closed = False
        self._changed = asyncio.Event()

    def put(self, event: Event) -> None:
        if len(self._queue) >= self._length:
            self._lost += 1
        else:
            self._queue.append(event)
        self._changed.set()

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._lost:
                count, self._lost = self._lost, 0
                yield make("lost", self._host, count=count)
            elif self._is_closed:
                return
            else:
                self._changed.clear()
                await self._changed.wait()


class Events:
    """``publish`` for the daemon, ``subscribe`` for the control socket."""

    def __init__(self, host: str, *, queue_length: int = QUEUE_LENGTH) -> None:
        self.host = host
        self._queue_length = queue_length
        self._subscriptions: set[Subscription] = set()
        self._is_closed = False

    def publish(self, event: EventName, **fields: Unpack[EventFields]) -> None:
        made = make(event, self.host, **fields)
        for subscription in self._subscriptions:
            subscription.put(made)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """From here on the reader gets every event, or a count of those it lost."""
        subscription = Subscription(self.host, self._queue_length)
        if self._is_closed:
            subscription.close()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Lets every reader end, after what it has not read yet."""
        self._is_closed = True
        for subscription in self._subscriptions:
            subscription.close()


def make(event: EventName, host: str, **fields: Unpack[EventFields]) -> Event:
    return Event(time=datetime.now(UTC).isoformat(), event=event, host=host, **fields)
