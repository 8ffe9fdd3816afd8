"""The order in which parameters are decided: parents first, and those that belong together after each other.

It owns the order only. It must never know a parameter's values.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence


def ordered(
    names: Sequence[str],
    parents: Mapping[str, Collection[str]],
    groups: Sequence[Collection[str]],
) -> Iterator[str]:
    """Each name after its parents. Raises ValueError if there is a cycle.

    A name and its parents, or the names of a group, are open from the first of them to the last. Of the names
    that may come next, the one comes that leaves the fewest open, and of equal ones the first. So the counts
    of points need to tell few states apart, and without parents and groups nothing changes its place.
    """
    pending = _Pending(names, parents, groups)
    count = 0
    while (name := pending.next()) is not None:
        count += 1
        yield name
    if count < len(names):
        raise ValueError("parents form a cycle")


class _Pending:
    """The names that have not come yet."""

    def __init__(
        self,
        names: Sequence[str],
        parents: Mapping[str, Collection[str]],
        groups: Sequence[Collection[str]],
    ) -> None:
        self._names = names
        self._place = {name: place for place, name in enumerate(names)}
        self._groups = [set(group) for group in groups if len(group) > 1]
        self._groups += [{name, *mine} for name, mine in parents.items() if mine]
        #: So many of a group have not come yet.
        self._missing = [len(group) for group in self._groups]
        self._of: dict[str, list[int]] = defaultdict(list)
        for number, group in enumerate(self._groups):
            for name in group:
                self._of[name].append(number)
        self._unmet = {name: len(parents.get(name, ())) for name in names}
        self._children: dict[str, list[str]] = defaultdict(list)
        for name, mine in parents.items():
            for parent in mine:
                self._children[parent].append(name)
        self._gone: set[str] = set()
        #: May hold a name more than once: only the entry with its present cost counts.
        self._ready: list[tuple[int, int]] = []
        for name in names:
            self._offer(name)

    def next(self) -> str | None:
        """The name that comes now; None if none may."""
        while self._ready:
            cost, place = heapq.heappop(self._ready)
            name = self._names[place]
            if name not in self._gone and cost == self._cost(name):
                self._take(name)
                return name
        return None

    def _cost(self, name: str) -> int:
        """How many more groups are open after it."""
        opens = sum(self._missing[each] == len(self._groups[each]) for each in self._of[name])
        return opens - sum(self._missing[each] == 1 for each in self._of[name])

    def _take(self, name: str) -> None:
        self._gone.add(name)
        changed = set(self._children[name])
        for child in self._children[name]:
            self._unmet[child] -= 1
        for each in self._of[name]:
            self._missing[each] -= 1
            if self._missing[each] in (len(self._groups[each]) - 1, 1):
                changed |= self._groups[each]
        # In any order: the heap has its own.
        for other in changed - self._gone:
            self._offer(other)

    def _offer(self, name: str) -> None:
        if not self._unmet[name]:
            heapq.heappush(self._ready, (self._cost(name), self._place[name]))
