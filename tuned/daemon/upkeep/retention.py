"""Keeps output and checkpoints of experiments that have ended from filling the disk of this host.

It must never remove anything of a study that this host works on, or of which the database does not say now
that it has ended. The disk is asked in threads, in short steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from tuned.daemon.trials.chores import done
from tuned.disk import checkup, holdings, leftovers
from tuned.disk.layout import study_folder
from tuned.domain.resources import rounded_size
from tuned.domain.retention import Holding, Keep, Part, Rule, chosen
from tuned.errors import Conflict, DatabaseAway
from tuned.keeper.chores import emptying, measuring, setting_aside
from tuned.protocol.disk import CleanView, KeepView, RemovedView
from tuned.storage.ended import Standing, standings
from tuned.storage.queries import experiments

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.scheduler import Scheduler
    from tuned.events import Events
    from tuned.keeper.chores import Chore
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()

T = TypeVar("T")

#: Between two looks at the disk, at least.
PAUSE_SECONDS = 600.0

#: Looks at the disk take this share of the time at most.
_SHARE = 1 / 1000

#: How many problems are told.
_MOST_PROBLEMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """All that lies here, and what the database says of its studies, by uid."""

    holdings: Sequence[Holding]
    standings: Mapping[str, Standing]

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.holdings)


class Retention:
    """The one that removes by age and size. Belongs to the event loop's thread."""

    def __init__(self, link: Link, events: Events, scheduler: Scheduler, keep: Keep) -> None:
        self._link = link
        self._events = events
        self._scheduler = scheduler
        self._layout = scheduler.layout
        self._doer = scheduler.doer
        self._keep = keep
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        #: Before that, this host does not know yet what it works on.
        self._has_begun = False
        #: How long threads have worked for it.
        self._worked_seconds = 0.0
        #: Faults that the last look at the disk found, one sentence each.
        self._faults: list[str] = []

    def limit(self, keep: Keep) -> None:
        """Takes over other limits, at once."""
        if keep != self._keep:
            self._keep = keep
            self._changed.set()

    async def run(self) -> None:
        """Loop: remove what the limits do not let stay. It begins once this host knows what it works on."""
        self._has_begun = True
        while True:
            self._changed.clear()
            before = self._worked_seconds
            await self._tidy()
            pause = max(PAUSE_SECONDS, (self._worked_seconds - before) / _SHARE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self._keep.has_limits else None):
                    await self._changed.wait()

    async def warnings(self) -> list[str]:
        """Things that a person should look at, one sentence each."""
        full = await asyncio.to_thread(checkup.nearly_full, self._layout.path)
        return [*self._faults, full] if full else self._faults

    async def clean(self, name: str | None = None, *, is_dry: bool = False) -> CleanView:
        """Removes what the limits do not let stay, or all that an experiment left; if dry, only says what.

        Raises DatabaseAway, NotFound, Conflict if the experiment has not ended.
        """
        if not self._has_begun:
            raise Conflict("cannot clean yet: this host has not joined the fleet; try again in a moment")
        async with self._one_at_a_time:
            if name is None:
                return await self._by_limits(is_dry=is_dry)
            study_id = await self._link.call(experiments.find, name)
            _, uid = await self._link.call(experiments.outputs_of, study_id)
            survey = await self._surveyed({uid})
            if uid not in self._ended(survey.standings):
                raise Conflict(f"cannot clean {name}: it has not ended; to end it: tunectl cancel {name}")
            return await self._cleaned(survey, [(each, Rule.ASKED) for each in survey.holdings], is_dry)

    async def _tidy(self) -> None:
        """Goes on with what an earlier daemon was about to remove, and applies the limits, if any."""
        try:
            async with self._one_at_a_time:
                await self._emptied()
                self._faults = []
                if self._keep.has_limits:
                    await self._by_limits()
        except DatabaseAway:
            _log.debug("disk not looked at")
        except Exception:  # noqa: BLE001 (a loop's edge)
            _log.exception("disk not looked at")

    async def _by_limits(self, *, is_dry: bool = False) -> CleanView:
        survey = await self._surveyed(await asyncio.to_thread(leftovers.studies, self._layout))
        going = chosen(survey.holdings, self._ended(survey.standings), self._keep)
        view = await self._cleaned(survey, going, is_dry)
        if not is_dry:
            self._faults = list(self._found_wrong(view))
        return view

    def _found_wrong(self, view: CleanView) -> Iterator[str]:
        most = self._keep.size_bytes
        if most is not None and view["left_bytes"] > most:
            yield (
                f"output and checkpoints take {rounded_size(view['left_bytes'])}, more than keep.size "
                f"({rounded_size(most)}): the rest is of experiments that have not ended"
            )
        yield from view["problems"]

    async def _surveyed(self, uids: set[str]) -> _Survey:
        found = await self._link.call(standings, uids)
        folders = {uid: study_folder(found[uid].called if uid in found else "", uid) for uid in uids}
        lost = {study_folder("", uid): uid for uid in uids - found.keys()}
        for folder in await asyncio.to_thread(holdings.names, self._layout.trials):
            # Nobody knows the name of a study that the database does not have.
            if uid := lost.get(folder[folder.rfind("-") :]):
                folders[uid] = folder
        there = await done(self._step, measuring(folders))
        return _Survey(holdings=there, standings=found)

    def _ended(self, found: Mapping[str, Standing]) -> dict[str, float]:
        """How long ago each of them ended, without those that this host still works on."""
        ours = {search.status.uid for search in self._scheduler.searches.values()}
        ours |= {each.evaluation.study_uid for each in self._scheduler.slots if each is not None}
        each = {uid: standing.ended_seconds for uid, standing in found.items() if uid not in ours}
        return {uid: seconds for uid, seconds in each.items() if seconds is not None}

    async def _cleaned(
        self, survey: _Survey, going: Sequence[tuple[Holding, Rule]], is_dry: bool
    ) -> CleanView:
        removed: list[RemovedView] = []
        problems: list[str] = []
        groups: dict[tuple[str, Part, Rule], list[Holding]] = defaultdict(list)
        for each, rule in going:
            groups[each.uid, each.part, rule].append(each)
        for (uid, part, rule), group in groups.items():
            standing = survey.standings[uid]
            try:
                gone = group if is_dry else await self._set_aside(uid, part, standing, group)
            except OSError as error:
                problems.append(f"cannot remove {part} of {standing.name}: {error}")
                continue
            if gone:
                removed.append(_removed(standing, part, rule, gone))
        freed = sum(each["size_bytes"] for each in removed)
        left = survey.size_bytes - freed
        if not is_dry:
            freed, stuck = await self._emptied()
            problems += stuck
            self._tell(removed, freed)
        return CleanView(
            keep=KeepView(
                output_seconds=self._keep.output_seconds,
                points_seconds=self._keep.checkpoints_seconds,
                size_bytes=self._keep.size_bytes,
            ),
            removed=removed,
            freed_bytes=freed,
            left_bytes=left,
            problems=problems,
        )

    async def _set_aside(
        self, uid: str, part: Part, standing: Standing, group: Sequence[Holding]
    ) -> list[Holding]:
        """Takes directories away from a study as long as it stays ended; returns those that were there."""
        folder = study_folder(standing.called, uid)
        chore = setting_aside(part, uid, folder, [each.name for each in group])
        taken: set[str] = set()
        is_done = False
        while not is_done:
            # No experiment begins here meanwhile, so none finds its files going.
            async with self._scheduler.admitting:
                if uid not in self._ended(await self._link.call(standings, {uid})):
                    break
                names, is_done = await self._step(chore)
                taken.update(names)
        return [each for each in group if each.name in taken]

    async def _emptied(self) -> tuple[int, list[str]]:
        """Removes all that was set aside. Returns the bytes that this freed, and what cannot be removed."""
        gone = await done(self._step, emptying())
        problems = [f"cannot remove {each.problem}" for each in gone if each.problem]
        for each in problems[:_MOST_PROBLEMS]:
            _log.warning("directory not removed", reason=each)
        return sum(each.freed_bytes for each in gone), problems[:_MOST_PROBLEMS]

    async def _step(self, chore: Chore[T]) -> tuple[list[T], bool]:
        began = time.monotonic()
        try:
            return await self._doer.step(chore)
        finally:
            self._worked_seconds += time.monotonic() - began

    def _tell(self, removed: Sequence[RemovedView], freed_bytes: int) -> None:
        for each in removed:
            _log.info("files removed", **each)
            self._events.publish("files-removed", experiment=each["experiment"], removed=each)
        if removed:
            _log.info("disk cleaned", freed_bytes=freed_bytes)


def _removed(standing: Standing, part: Part, rule: Rule, group: Sequence[Holding]) -> RemovedView:
    return RemovedView(
        experiment=standing.name,
        part=part.value,
        count=len(group),
        size_bytes=sum(each.size_bytes for each in group),
        rule=rule.value,
    )
