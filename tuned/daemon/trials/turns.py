"""Whose turn it is on this host: the experiment that a free slot serves next, and the GPUs for its trial.

This room owns the order. Experiments of a higher priority come first, and equal ones share: the one that has
the fewest slots comes first. One that has nothing to start now keeps nobody from a slot. It must never wait.

GPUs are granted before a point is claimed: no point is held while its trial waits for a card. Nobody
overtakes in the queue for cards, because an experiment that needs many would never find them free at once.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tuned.daemon.gpu_pool import Gpus, Grant
    from tuned.search.search import Search


class Turns:
    """The turns of the searches of one host. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        #: By the name of a search.
        self._last: dict[str, int] = {}

    def next(self, searches: Iterable[Search], slots: int, gpus: Gpus) -> tuple[Search, Grant] | None:
        """The search whose turn it is, and the GPUs for its next trial; None if none may start one."""
        ready = [search for search in searches if search.may_start(slots)]
        is_queued = False
        for search in sorted(ready, key=self._rank):
            wanted = search.experiment.resources.cards
            if wanted is not None and is_queued:
                continue
            grant = gpus.grant(wanted)
            if grant is not None:
                self._last[search.name] = next(self._numbers)
                return search, grant
            is_queued = True
        return None

    def _rank(self, search: Search) -> tuple[int, int, int]:
        return -search.experiment.fleet.priority, search.busy, self._last.get(search.name, 0)
