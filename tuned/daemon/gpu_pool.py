"""Which trial has which GPU, or which part of one, counted in exact fractions.

This room owns the counts of one host. It must never wait, or choose who is next: a grant is made at once or
not at all, and the scheduler orders those who want one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

_WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Cards that one trial has, by id, and how much of each."""

    ids: tuple[str, ...]
    share: Fraction


#: For a trial that wants no card.
NOTHING = Grant(ids=(), share=Fraction(0))


class Gpus:
    """The cards of a host and their grants. Belongs to the event loop's thread."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = tuple(ids)
        #: How much of a card is granted; also of cards that are no longer ours to give.
        self._used: defaultdict[str, Fraction] = defaultdict(Fraction)
        #: Cards that are not granted for now, because others compute on them.
        self.left: set[str] = set()

    def equip(self, ids: Sequence[str]) -> None:
        """Replaces the cards; a trial keeps a removed one to its end."""
        self._ids = tuple(ids)

    @property
    def used(self) -> Mapping[str, Fraction]:
        """How much of each card is granted, in their order."""
        return {card: self._used[card] for card in self._ids}

    def missing(self, wanted: Fraction | None) -> str:
        """Why this host can never grant so much, for people; empty if it can."""
        if wanted is None or wanted <= len(self._ids):
            return ""
        return f"needs {float(wanted):g} GPUs, this host has {len(self._ids) or 'none'}"

    def grant(self, wanted: Fraction | None) -> Grant | None:
        """So many cards, or that part of one; None while they are not free."""
        if wanted is None:
            return NOTHING
        if wanted < 1:
            # The fullest card that has room, so that whole ones stay free.
            fitting = [card for card in self._free if self._used[card] + wanted <= 1]
            chosen = sorted(fitting, key=self._used.__getitem__, reverse=True)[:1]
        else:
            chosen = [card for card in self._free if not self._used[card]][: int(wanted)]
            if len(chosen) < wanted:
                return None
        if not chosen:
            return None
        grant = Grant(ids=tuple(chosen), share=min(wanted, _WHOLE))
        for card in grant.ids:
            self._used[card] += grant.share
        return grant

    @property
    def _free(self) -> list[str]:
        return [card for card in self._ids if card not in self.left]

    def take(self, ids: Sequence[str], wanted: Fraction | None) -> Grant:
        """Of a trial that has these cards already, whether they are free or still ours."""
        if wanted is None or not ids:
            return NOTHING
        grant = Grant(ids=tuple(ids), share=min(wanted, _WHOLE))
        for card in grant.ids:
            self._used[card] += grant.share
        return grant

    def give_back(self, grant: Grant) -> None:
        """To be called once for each grant."""
        for card in grant.ids:
            self._used[card] -= grant.share
