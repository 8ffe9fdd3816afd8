"""The figures of experiments as this host tells them: those of the database, with what only this host knows.

It keeps the last figures for as long as the database is away. It must never change an experiment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from tuned.daemon import views
from tuned.domain.states import SearchState
from tuned.errors import Conflict, DatabaseAway
from tuned.storage.queries import experiments

if TYPE_CHECKING:
    from collections.abc import Collection

    from tuned.daemon.experiments import Experiments
    from tuned.daemon.scheduler import Scheduler
    from tuned.protocol.experiments import ExperimentSummary
    from tuned.storage.link import Link

#: How long a status waits for figures while the database is away: it may still be read.
_AWAY_SECONDS = 1.0


class Summaries:
    """Belongs to the event loop's thread."""

    def __init__(self, link: Link, local_experiments: Experiments, scheduler: Scheduler) -> None:
        self._link = link
        self._experiments = local_experiments
        self._scheduler = scheduler
        self._last: dict[str, ExperimentSummary] = {}
        #: Why they could not be read anew.
        self.unread = ""
        self._fresh_until = 0.0

    async def active(self) -> list[ExperimentSummary]:
        """The open and paused ones, and those that cannot be opened here; in an outage as last seen."""
        searches = list(self._experiments.searches.values())
        resting = self._experiments.admission.resting
        ids = [search.status.study_id for search in searches]
        ids += [each.study_id for each in resting if each.study_id is not None]
        began = time.monotonic()
        if began >= self._fresh_until:
            # The status reports an outage under "database", and shows the last known figures.
            with contextlib.suppress(DatabaseAway, TimeoutError):
                async with asyncio.timeout(None if self._link.message is None else _AWAY_SECONDS):
                    await self._read(ids)
            # Counting a large study takes long: a peer that asks often gets the last figures.
            self._fresh_until = time.monotonic() + 10 * (time.monotonic() - began)
        last = self._last
        shown = [last.get(search.status.name) or views.uncounted(search) for search in searches]
        others = {each.experiment for each in resting} - {search.status.name for search in searches}
        shown += [summary for name, summary in last.items() if name in others]
        return [self.localized(summary) for summary in shown]

    async def _read(self, ids: Collection[int]) -> None:
        try:
            found = await self._link.ask(experiments.summaries, ids) if ids else []
        except Conflict as error:
            self.unread = str(error)
        else:
            self._last, self.unread = {summary["name"]: summary for summary in found}, ""

    def localized(self, summary: ExperimentSummary) -> ExperimentSummary:
        """Adds the figures that only this host knows."""
        summary = summary.copy()
        faults = self._faults_of(summary["name"])
        search = self._experiments.search_of(summary["name"])
        if search is None:
            summary["note"] = "; ".join(filter(None, [summary["note"], *faults]))
            return summary
        if self._link.message is not None and summary["name"] not in self._last:
            faults.append("its trials are not counted: the database is away")
        # The summary may be newer than this host's last look.
        note = search.noted(summary["note"] or search.status.pause_reason)
        summary["note"] = "; ".join(filter(None, [*faults, note]))
        summary["origin"] = search.adoption.origin
        summary["is_paused_here"] = search.state is SearchState.PAUSED
        summary["running"] = len(self._scheduler.running(search.name))
        summary["counts"] = {
            **summary["counts"],
            "waiting": summary["counts"]["waiting"] + search.parked,
        }
        return summary

    def _faults_of(self, name: str) -> list[str]:
        """Why this host cannot open the experiment's file."""
        resting = self._experiments.admission.resting
        return [each.fault.reason for each in resting if each.experiment == name and each.fault]
