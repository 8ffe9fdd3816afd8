"""The reports of running trials, on their way to the database and to the readers of this host's events.

The database gets one batch for all trials of the host, at most every ``SHARE_SECONDS``, behind all that slots
wait for. A trial that ends sooner is in none: its tell has all that it reported. Nothing here ends a trial,
or is lost to its tell if it fails.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import structlog

from tuned.errors import DatabaseAway
from tuned.storage.trials.intermediate import Update, share

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.scheduler import Scheduler
    from tuned.daemon.trials.running import Running
    from tuned.storage.link import Link
    from tuned.trial.curve import Curve

    _Mark = tuple[Curve, int]

_log: FilteringBoundLogger = structlog.get_logger()

#: Between two batches, and how long a trial runs until it is in one.
SHARE_SECONDS = 5.0

#: How many intermediate values a batch has at most. Trials that report more get equal parts of it, and the
#: rest goes with later batches or with their tells.
MOST_VALUES = 1000

#: How often readers of events hear of a trial's reports at most.
ANNOUNCE_SECONDS = 1.0


@dataclass(slots=True)
class _Shared:
    """The part of a running trial that the database has."""

    values: dict[int, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    #: The curve, and its number of reports, of which the database has all.
    whole: _Mark | None = None

    def changed_attributes(self, running: Running) -> dict[str, Any]:
        attributes = running.evaluation.system_attrs.items()
        return {name: value for name, value in attributes if self.attributes.get(name) != value}

    def has_all(self, running: Running) -> bool:
        return self.whole == _mark(running) and not self.changed_attributes(running)

    def note(self, written: _Batched) -> None:
        for step in written.update.gone:
            del self.values[step]
        self.values.update(written.update.values)
        self.attributes.update(written.update.attributes)
        self.whole = written.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batched:
    """The update of a trial, and how far the database has all of it afterwards; None: not all."""

    update: Update
    whole: _Mark | None


class LiveValues:
    """Belongs to the event loop's thread."""

    def __init__(self, link: Link, scheduler: Scheduler) -> None:
        self._link = link
        self._scheduler = scheduler
        #: By claim and trial: a claim that the database forgot gets another trial.
        self._shared: dict[tuple[str, int], _Shared] = {}
        #: How many reports of a curve readers of events know of.
        self._announced: dict[Curve, int] = {}

    async def run(self) -> None:
        """Loop: both ways, each at its own pace."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._share_values())
            group.create_task(self._announce_reports())

    async def share(self) -> None:
        """Writes one batch. Raises DatabaseAway."""
        runs = {
            (each.claimed.claim_id, each.claimed.trial_id): each
            for each in self._scheduler.slots
            if each is not None and each.seconds >= SHARE_SECONDS
        }
        self._shared = {key: self._shared.get(key) or _Shared() for key in runs}
        changed = {key: each for key, each in runs.items() if not self._shared[key].has_all(each)}
        if not changed:
            return
        most = max(1, MOST_VALUES // len(changed))
        batch = {key: _batched(each, self._shared[key], most) for key, each in changed.items()}
        written = await self._link.share(share, [each.update for each in batch.values()])
        for key, each in batch.items():
            if each.update.claim_id in written:
                self._shared[key].note(each)

    def announce(self) -> None:
        """Publishes the last report of each trial that has reported since the last call."""
        known, self._announced = self._announced, {}
        for slot, running in enumerate(self._scheduler.slots):
            if running is None or (newest := running.evaluation.curve.newest) is None:
                continue
            curve = running.evaluation.curve
            self._announced[curve] = curve.reports
            if known.get(curve) != curve.reports:
                running.search.announce.reported(running.claimed, slot, *newest)

    async def _share_values(self) -> None:
        while True:
            await asyncio.sleep(SHARE_SECONDS)
            try:
                await self.share()
            except DatabaseAway:
                await self._link.back()
            except Exception:  # noqa: BLE001 (a loop's edge)
                _log.exception("intermediate values not shared: their trials' results have them")

    async def _announce_reports(self) -> None:
        while True:
            await asyncio.sleep(ANNOUNCE_SECONDS)
            try:
                self.announce()
            except Exception:  # noqa: BLE001 (a loop's edge)
                _log.exception("reports not announced")


def _mark(running: Running) -> _Mark:
    curve = running.evaluation.curve
    return curve, curve.reports


def _batched(running: Running, shared: _Shared, most: int) -> _Batched:
    """Has at most so many values; of more some, evenly, and the newest."""
    values = running.evaluation.curve.values
    # The same number is the same object, also if it is NaN.
    fresh = {step: value for step, value in values.items() if shared.values.get(step) is not value}
    stride = max(1, math.ceil(len(fresh) / most))
    update = Update(
        claim_id=running.claimed.claim_id,
        study_uid=running.search.status.uid,
        values=dict(islice(reversed(fresh.items()), 0, None, stride)),
        gone=shared.values.keys() - values.keys(),
        attributes=shared.changed_attributes(running),
    )
    return _Batched(update=update, whole=_mark(running) if stride == 1 else None)
