"""The way of one slot from its wish for a point to a claimed point.

This room owns the order in which points are looked for, and remembers claims whose outcome is unknown. It
does not know whether this host may work on the experiment: ``search`` does.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from tuned.config.toml import shorten
from tuned.domain.claim import Action, Candidate, Claimed, Closed, Duplicate, Origin, Outcome, new_claim_id
from tuned.domain.walk import Walk
from tuned.errors import DatabaseAway, printable
from tuned.search.parked import Parked
from tuned.search.prefetch import Prefetch
from tuned.search.unconfirmed import Unconfirmed
from tuned.storage.trials.claims import Claims
from tuned.storage.trials.enqueued import Misfit, fail_waiting, fixed_params

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from structlog.typing import FilteringBoundLogger

    from tuned.domain.claim import Claimant
    from tuned.domain.result import Result
    from tuned.domain.space import Point
    from tuned.domain.study_status import StudyStatus
    from tuned.experiment.experiment import Experiment
    from tuned.search.sampling import Draft, PointSource
    from tuned.storage.encoding import Encoding
    from tuned.storage.history import History
    from tuned.storage.link import Link

R = TypeVar("R")

#: In characters: an enqueuing program may have given a parameter any value.
_LONGEST_REASON = 300


class Study(Protocol):
    """The study whose points are claimed, as this host sees it."""

    #: At the last look.
    status: StudyStatus
    #: Slots of this host that claim or evaluate for it.
    busy: int
    log: FilteringBoundLogger

    async def refresh(self) -> bool:
        """Looks where the study stands. Raises DatabaseAway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Open ends of one search, which outlive an incarnation of its host."""

    #: ``[[points]]`` of the file that are still to be claimed.
    points: deque[Point]
    parked: Parked = field(default_factory=Parked)
    unconfirmed: Unconfirmed = field(default_factory=Unconfirmed)
    #: By slot: duplicates since its last real evaluation.
    duplicates: Counter[int] = field(default_factory=Counter)


class Claiming:
    """Claims for one incarnation of the host; another incarnation has another one.

    Belongs to the event loop's thread.
    """

    def __init__(
        self,
        link: Link,
        study: Study,
        experiment: Experiment,
        *,
        encoding: Encoding,
        source: PointSource,
        backlog: Backlog,
    ) -> None:
        self._link = link
        self._study = study
        self._patience = experiment.dedup.patience
        self._source = source
        self._encoding = encoding
        self._backlog = backlog
        status = study.status
        self._claims = Claims(
            link.database,
            status.study_id,
            claimant=source.claimant,
            encoding=encoding,
            dedup=experiment.dedup,
            walk=None if status.size is None else Walk(status.size, status.seed),
            objectives=len(experiment.directions),
        )
        self._prefetch = Prefetch(link, source)
        #: Claims whose commit had an unknown outcome.
        self._unknown: deque[tuple[str, Origin]] = deque()
        #: Claims that have no answer yet.
        self._flying: set[str] = set()
        self._is_given_up = False

    @property
    def claimant(self) -> Claimant:
        """The incarnation for which it claims."""
        return self._source.claimant

    def follow(self, experiment: Experiment) -> None:
        """Draws by another definition of the same search from now on."""
        self._source.follow(experiment.pruner)

    @property
    def history(self) -> History:
        """The study's trials, as its sampler and its pruner know them."""
        return self._source.history

    def give_up(self) -> None:
        """Drops the claims under way: this host was declared dead, or has a new incarnation."""
        self._is_given_up = True

    async def next(self, slot: int) -> Outcome:
        """Draws one point for a slot and claims it. Raises DatabaseAway."""
        with self._prefetch.claim():
            outcome = await self._next(slot)
        if isinstance(outcome, Claimed) and self._is_given_up:
            # Another host may have the point by now.
            self._study.log.warning("claim came too late", trial=outcome.number)
            return Closed()
        if isinstance(outcome, Claimed):
            self._backlog.duplicates[slot] = 0
            self._prefetch.note_claimed(self._study.busy)
        elif isinstance(outcome, Duplicate):
            self._note_duplicate(slot, outcome)
        return outcome

    async def charge_retry(self, claimed: Claimed, charged: int) -> bool:
        """Charges one more than so many evaluations; False if the budget is full. Raises DatabaseAway."""
        return await self._link.run(self._claims.charge_retry, claimed, charged)

    async def claim_again(self, claimed: Claimed, attempts: int) -> Claimed | None:
        """Writes the trial of a claim again if the database has forgotten it; None if it must not go on.

        Raises DatabaseAway.
        """
        return await self._link.run(self._claims.claim_again, claimed, attempts=attempts)

    @property
    def under_way(self) -> set[str]:
        """The claims that may be granted without this host knowing it yet, by id."""
        return {*self._flying, *(claim_id for claim_id, _ in self._unknown)}

    def note_ended(self, result: Result, seconds: float) -> None:
        """Takes note that a trial has ended after so long, and that the database will be told."""
        self._backlog.unconfirmed.add(result.claim_id, result.key)
        self._source.history.note_ended(result.claim_id, result.ending)
        self._prefetch.note_evaluated(seconds)

    def note_told(self, result: Result) -> None:
        """Takes note that the database has the result of a trial."""
        self._backlog.unconfirmed.settle(result.claim_id)
        self._backlog.parked.release(result.trial_id)

    def _note_begun(self, outcome: Outcome) -> None:
        # Another program wrote a part of an enqueued trial.
        if isinstance(outcome, Claimed) and outcome.candidate.waiting_trial is None:
            self._source.history.note_begun(self._encoding.beginning(outcome), self.claimant.host)

    def _note_duplicate(self, slot: int, duplicate: Duplicate) -> None:
        origin = duplicate.candidate.origin
        if origin in (Origin.SAMPLER, Origin.WALK) and not duplicate.candidate.was_parked:
            self._backlog.duplicates[slot] += 1
        if duplicate.action is Action.WAIT:
            self._backlog.parked.park(duplicate)
            return
        # A duplicate without a trial of its own has no number to tell.
        trial = {} if duplicate.number is None else {"trial": duplicate.number}
        self._study.log.info(
            "duplicate",
            action=duplicate.action.value,
            origin=origin.value,
            twin=duplicate.twin.number,
            slot=slot,
            **trial,
        )

    async def _next(self, slot: int) -> Outcome:
        if found := await self._find_unknown():
            return found
        candidate = await self._owed()
        if candidate is not None:
            return await self._claim(candidate)
        while (waiting := self._next_waiting()) is not None:
            if (outcome := await self._claim_waiting(waiting)) is not None:
                return outcome
        if self._backlog.duplicates[slot] < self._patience and self._source.samples:
            return await self._claim_drawn()
        if self._study.status.size is None:
            return await self._claim(self._source.uniform())
        await self._settle_results()
        claim_id = new_claim_id()
        outcome = await self._guarded(
            claim_id,
            Origin.WALK,
            self._link.run(self._claims.claim_unvisited, claim_id, self._study.status.revision),
        )
        self._note_begun(outcome)
        return outcome

    async def _find_unknown(self) -> Claimed | None:
        """A point that an earlier claim got, although its answer was lost."""
        while self._unknown:
            # Taken out first: two slots must not look for the same claim, and both adopt it.
            claim_id, origin = self._unknown.popleft()
            found = await self._guarded(claim_id, origin, self._link.run(self._claims.find, claim_id, origin))
            if found is not None:
                return found
        return None

    async def _owed(self) -> Candidate | None:
        """A point that goes ahead of the sampler: parked, of ``[[points]]``, or aborted or lost before."""
        if ready := self._backlog.parked.next_ready():
            return ready
        if self._backlog.points:
            return Candidate(point=self._backlog.points.popleft(), origin=Origin.POINTS)
        if self._study.status.free:
            freed = await self._link.run(self._claims.next_freed)
            if freed is None:
                await self._study.refresh()
            return freed
        return None

    def _next_waiting(self) -> int | None:
        """An enqueued trial that is not parked already."""
        parked = self._backlog.parked.enqueued
        return next((each for each in self._study.status.waiting if each not in parked), None)

    async def _claim_waiting(self, trial_id: int) -> Outcome | None:
        """None if it waits no longer: it does not fit, or another host has it."""
        outcome: Outcome = Closed()
        try:
            fixed = await self._link.call(fixed_params, trial_id)
            draft = await self._link.draw(self._source.complete, fixed, trial_id)
        except Misfit as error:
            reason = printable(shorten(str(error), _LONGEST_REASON))
            self._study.log.warning("enqueued trial does not fit the space", error=reason)
            await self._link.call(fail_waiting, trial_id, reason)
        else:
            outcome = await self._claim_draft(draft)
        if isinstance(outcome, Duplicate) and outcome.action is Action.WAIT:
            return outcome
        was_found = await self._study.refresh()
        has_gone = was_found and trial_id not in self._study.status.waiting
        return None if has_gone and isinstance(outcome, Closed) else outcome

    async def _claim_drawn(self) -> Outcome:
        draft = await self._prefetch.next(self._study.busy)
        outcome = await self._claim_draft(draft)
        if isinstance(outcome, Duplicate) and draft.candidate.is_ahead:
            # Prefetched; it has become a duplicate since, so draw again.
            return await self._claim_draft(await self._prefetch.fresh())
        return outcome

    async def _claim_draft(self, draft: Draft) -> Outcome:
        try:
            return await self._claim(draft.candidate)
        finally:
            self._source.release(draft)

    async def _claim(self, candidate: Candidate) -> Outcome:
        await self._settle_results()
        # A trial that ended here a moment ago no longer runs: the database must know before it is asked.
        await self._backlog.unconfirmed.arrival_of(candidate.point.key)
        candidate = replace(candidate, revision=self._study.status.revision)
        outcome: Outcome = Closed()
        try:
            outcome = await self._guarded(
                candidate.claim_id,
                candidate.origin,
                self._link.run(self._claims.claim, candidate),
            )
            self._note_begun(outcome)
        finally:
            if candidate.origin is Origin.POINTS and isinstance(outcome, Closed):
                # Refused or unanswered: claim it again later. That finds out whether it was claimed.
                self._backlog.points.appendleft(candidate.point)
        return outcome

    async def _settle_results(self) -> None:
        """Waits a little for the results of this host: one may end the search, and then nothing begins."""
        await self._backlog.unconfirmed.arrival(self._prefetch.patience_seconds)

    async def _guarded(self, claim_id: str, origin: Origin, claim: Awaitable[R]) -> R:
        self._flying.add(claim_id)
        try:
            return await claim
        except DatabaseAway:
            self._unknown.append((claim_id, origin))
            raise
        finally:
            self._flying.discard(claim_id)
