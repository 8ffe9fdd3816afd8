"""Which of this host's GPUs somebody else computes on: such a card is not given out.

NVML is asked when a card is to be given out, and at the start, so that people hear if it cannot be asked.
This room owns what was seen last, and must never give a card out.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.trials.chores import done
from tuned.keeper.cards import Sight
from tuned.keeper.chores import seeing_cards

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from structlog.typing import FilteringBoundLogger

    from tuned.config.settings_file import CardsInUse
    from tuned.daemon.gpu_pool import Gpus
    from tuned.daemon.trials.chores import Doer
    from tuned.protocol.fleet import FindingView

_log: FilteringBoundLogger = structlog.get_logger()

#: How long a card is left before somebody looks again.
LEFT_SECONDS = 10.0


class CardUsers:
    """The users of a host's cards. Belongs to the event loop's thread."""

    def __init__(self, doer: Doer, installation_id: str, gpus: Gpus, on_change: Callable[[], object]) -> None:
        """``on_change`` is called when a card may be tried again."""
        self._doer = doer
        self._installation_id = installation_id
        self._gpus = gpus
        self._on_change = on_change
        self._mode: CardsInUse = "use"
        self._lock = asyncio.Lock()
        #: By the monotonic clock: when the newest look began.
        self._began = -math.inf
        self._sight = Sight()
        #: Why it is not known whether others use the cards; empty if it is, or nobody asks.
        self.problem = ""

    def limit(self, mode: CardsInUse) -> None:
        """Whether cards in use are left."""
        self._mode = mode
        if mode == "use":
            self._note("")
            self._gpus.left.clear()

    async def look(self) -> None:
        """Finds out whether NVML can be asked at all, if that is wanted and there are cards."""
        await self._taken(tuple(self._gpus.used))

    async def are_free(self, ids: Collection[str]) -> bool:
        """Whether nobody else uses these. The others are left for a while."""
        taken = await self._taken(ids)
        for card in taken:
            if card not in self._gpus.left:
                _log.info("card in use by others", card=card)
                self._gpus.left.add(card)
                asyncio.get_running_loop().call_later(LEFT_SECONDS, self._try_again, card)
        return not taken

    def findings(self) -> list[FindingView]:
        """For a doctor."""
        if not self.problem:
            return []
        return [
            {
                "kind": "note",
                "code": "cards-unseen",
                "what": self.problem,
                "why": 'a card on which others compute may be given out, though gpus_in_use is "leave"',
                "remedy": 'install NVIDIA\'s driver with libnvidia-ml.so.1, or say gpus_in_use = "use"',
                "is_fixable": False,
            }
        ]

    def _try_again(self, card: str) -> None:
        self._gpus.left.discard(card)
        self._on_change()

    async def _taken(self, ids: Collection[str]) -> list[str]:
        if self._mode == "use" or not ids:
            return []
        asked = time.monotonic()
        async with self._lock:
            # Many slots ask at once, and a look that began after a question answers it.
            if self._began <= asked:
                self._began = time.monotonic()
                self._sight = await self._seen()
        sight = self._sight
        if sight.problem:
            self._note(sight.problem)
            # A driver that hangs may do so for a moment only; a library that is not there will not come.
            return [] if sight.is_missing else [*ids]
        found = {name: next((each for each in sight.cards if each.is_called(name)), None) for name in ids}
        unknown = [name for name, card in found.items() if card is None]
        problems = [f"{card.problem} (GPU {name})" for name, card in found.items() if card and card.problem]
        problems += [f"NVML knows no GPU {', '.join(unknown)}"] if unknown else []
        self._note("; ".join(problems))
        return [name for name, card in found.items() if card is not None and card.others]

    async def _seen(self) -> Sight:
        try:
            [said] = (await done(self._doer.step, seeing_cards(self._installation_id)))[-1:]
        except OSError as error:
            return Sight(problem=f"NVML was not asked: {error}")
        return said

    def _note(self, problem: str) -> None:
        told = problem and f"cannot tell whether others compute on this host's GPUs: {problem}"
        if told and told != self.problem:
            _log.warning("users of cards unknown", reason=problem)
        self.problem = told
