"""The kernel's word on changes in a spool, and what each means.

It must never touch a file, or decide what becomes of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from asyncinotify import Event, Inotify, Mask

from tuned.disk.arrivals import Change, Folder, is_looked_at, unwatchable
from tuned.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

_ARRIVED = Mask.CREATE | Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.ATTRIB

_WENT = Mask.DELETE | Mask.MOVED_FROM
_SELF = Mask.DELETE_SELF | Mask.MOVE_SELF

_BLIND = _SELF | Mask.UNMOUNT | Mask.IGNORED


def gone(spool: Path) -> NotFound:
    return NotFound(f"cannot use spool {spool}: the directory or its active/ was removed or replaced")


@contextlib.contextmanager
def watched(spool: Path) -> Iterator[Inotify]:
    """Raises NotFound if the spool is gone, InvalidInput if the system has no watch to give."""
    with contextlib.ExitStack() as held:
        try:
            inotify = held.enter_context(Inotify(cache_size=256, sync_timeout=0))
            inotify.add_watch(spool, _ARRIVED | _WENT | _SELF | Mask.ONLYDIR)
            inotify.add_watch(spool / Folder.ACTIVE, _WENT | _SELF | Mask.ONLYDIR)
        except FileNotFoundError:
            raise gone(spool) from None
        except OSError as error:
            raise unwatchable(spool, error) from error
        yield inotify


async def changes(inotify: Inotify, spool: Path, settle_seconds: float) -> AsyncGenerator[Change, None]:
    """Says at once that there may be anything, and then what each change brings. Raises NotFound.

    So long after a change it says so once more: a file that was not quiet yet brings no further event.
    """
    pause: float | None = settle_seconds
    yield Change.ARRIVALS | Change.ACTIVE
    while True:
        try:
            async with asyncio.timeout(pause):
                event: Event | None = await inotify.get()
        except TimeoutError:
            pause = None
            yield Change.ARRIVALS | Change.ACTIVE
            continue
        change = Change(0)
        while event:
            change |= _meaning(spool, event)
            event = inotify.sync_get()
        if change:
            pause = settle_seconds
            yield change


def _meaning(spool: Path, event: Event) -> Change:
    """The work that an event may bring. Raises NotFound if the spool is gone."""
    if Mask.Q_OVERFLOW in event.mask:
        return Change.ARRIVALS | Change.ACTIVE
    file = str(event.name or "")
    is_in_active = event.watch is not None and event.watch.path == spool / Folder.ACTIVE
    if event.mask & _BLIND or (file == Folder.ACTIVE and event.mask & _WENT and not is_in_active):
        raise gone(spool)
    if is_in_active:
        return Change.ACTIVE if is_looked_at(file) else Change(0)
    # Without a name, it is the directory whose permissions changed.
    is_arrival = event.mask & _ARRIVED and (not file or is_looked_at(file))
    return Change.ARRIVALS if is_arrival else Change(0)
