"""Looks whether this host is sick: an experiment crashes on it in a row, and goes well on others.

The breaker of a search rests it (``search/search``). This room has the database give back what that cost, as
soon as it goes well elsewhere, and tells people. It asks nothing for an experiment that is well here, but
once: an earlier daemon may have left a row of crashes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tuned.domain.ending import MOST_CRASHES_IN_A_ROW
from tuned.errors import DatabaseAway
from tuned.search.fault import way_on
from tuned.storage.trials.sick import find_and_give_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tuned.search.search import Search
    from tuned.storage.link import Link


class Sickness:
    """Belongs to the event loop's thread."""

    def __init__(
        self, link: Link, searches: Mapping[str, Search], check: Callable[[Search], Awaitable[None]]
    ) -> None:
        """``check`` looks at a study anew, from which something was given back."""
        self._link = link
        self._searches = searches
        self._check = check
        #: The studies at which it has looked, by uid.
        self._seen: set[str] = set()

    async def run(self, interval_seconds: float) -> None:
        """Loop: look at the experiments that crash here."""
        while True:
            await asyncio.sleep(interval_seconds)
            for search in list(self._searches.values()):
                if search.is_sick_here or search.status.uid not in self._seen:
                    await self._look(search)

    async def _look(self, search: Search) -> None:
        try:
            numbers = await self._link.call(find_and_give_back, search.status.study_id)
            self._seen.add(search.status.uid)
            if not numbers:
                return
            search.log.warning("failures of a sick host given back", trials=numbers)
            if search.is_sick_here:
                why = f"{MOST_CRASHES_IN_A_ROW} crashes in a row on this host, and others do well: given back"
                search.pause(f"{why}; {way_on(search.name)}")
            await self._check(search)
        except DatabaseAway:
            search.log.debug("not looked for sickness")
        except Exception:
            # A loop's edge.
            search.log.exception("failures not given back, tried again later")
