"""One experiment on this host: which point is next, what became of it, and when it is over.

A search draws and claims; it runs nothing. What it knows of the study in the database is where the study
stood at the last look; who must be exact asks the claim.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from tuned.domain.claim import (
    Action,
    Candidate,
    Claimant,
    Claimed,
    Closed,
    Duplicate,
    Idle,
    Origin,
    Outcome,
    new_claim_id,
)
from tuned.domain.ending import Ending
from tuned.domain.states import StudyState
from tuned.domain.study_status import StudyStatus
from tuned.domain.walk import Walk
from tuned.errors import DatabaseAway, InvalidInput
from tuned.search.parked import Parked
from tuned.search.prefetch import Prefetch
from tuned.search.sampling import PointSource
from tuned.search.unconfirmed import Unconfirmed
from tuned.storage.claims import Claims
from tuned.storage.enqueued import fail_waiting, fixed_params
from tuned.storage.studies import close_if_over, study_statuses

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from structlog.typing import FilteringBoundLogger

    from tuned.experiment.experiment import Experiment
    from tuned.search.sampling import Draft
    from tuned.storage.encoding import Encoding
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


R = TypeVar("R")


#: A search whose evaluations fail so often in a row pauses itself on this host.
MOST_FAILURES_IN_A_ROW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """What this host cannot give to an experiment's trials, for people; empty if it can."""

    #: Why none can run here.
    missing: str = ""
    #: Which limits are not kept, and why.
    unenforced: str = ""


class Search:
    """One experiment on this host. Belongs to the event loop's thread."""

    def __init__(
        self,
        link: Link,
        experiment: Experiment,
        *,
        encoding: Encoding,
        status: StudyStatus,
        claimant: Claimant,
        file: str,
    ) -> None:
        """Raises what Optuna raises for sampler options that it refuses. May be called in a thread."""
        self.experiment = experiment
        #: The name of its file in the spool, without suffix; usually, not always, the experiment's.
        self.file = file
        self.status = status
        #: What the log and the events were told of the study's state.
        self.told_state = status.state
        self.log = _log.bind(experiment=experiment.name)
        self._link = link
        self._encoding = encoding
        self._walk = None if status.size is None else Walk(status.size, status.seed)
        self._forced = deque(experiment.points)
        self._parked = Parked()
        #: Claims whose commit had an unknown outcome.
        self._unknown: deque[tuple[str, Origin]] = deque()
        #: By slot: duplicates since its last real evaluation.
        self._duplicates: Counter[int] = Counter()
        self._failures_in_a_row = 0
        #: Of the host; None while it is dead to the fleet and has not yet risen.
        self._incarnation: str | None = None
        self._unconfirmed = Unconfirmed()
        #: Why this host evaluates nothing more of it, until a person resumes it.
        self.pause_reason = ""
        #: The scheduler knows.
        self.shortfall = Shortfall()
        #: Slots that claim or evaluate for this search now.
        self.busy = 0
        #: Nothing can be drawn until something changes: a trial ends, or the study does.
        self.is_idle = False
        #: The file was taken out of ``active/`` by hand, or the experiment is over: nothing new starts here.
        self.is_withdrawn = False
        #: What runs is being killed, or there is nothing left of it.
        self.is_ending = False
        self.hold(claimant)

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def note(self) -> str:
        """Why this host does not evaluate, if the study's state does not say it, or without which limits."""
        withdrawn = "withdrawn on this host" if self.is_withdrawn else ""
        reason = self.pause_reason or withdrawn or self.shortfall.missing
        return "; ".join(filter(None, (reason, self.shortfall.unenforced)))

    @property
    def was_found_over(self) -> bool:
        """The study has ended, and nobody has drawn the consequence here yet."""
        return self.status.state in (StudyState.DONE, StudyState.CANCELLED) and not self.is_ending

    @property
    def parked(self) -> int:
        return len(self._parked)

    def may_start(self, slots: int) -> bool:
        """Whether a free slot may ask this search for a point."""
        return (
            self.status.state is StudyState.OPEN
            and not (self.status.is_full or self.status.is_exhausted)
            and self.busy < (self.experiment.parallel or slots)
            and not (self.is_idle or self.is_withdrawn or self.is_ending)
            and not (self.pause_reason or self.shortfall.missing)
        )

    @property
    def is_at_work(self) -> bool:
        """A trial runs for it here and others may follow, or one may be started."""
        is_open = self.status.state is StudyState.OPEN and not self.pause_reason
        return is_open and (self.busy > 0 or self.may_start(slots=1))

    def let_go(self) -> None:
        """The fleet took this host for dead: what is just being claimed is not ours when it comes."""
        self._incarnation = None

    def hold(self, claimant: Claimant) -> None:
        """From now on claims for this incarnation of the host."""
        # First: no claim for this incarnation may be taken for one of the last.
        self._incarnation = claimant.incarnation
        database = self._link.database
        self._claims = Claims(
            database,
            self.status.study_id,
            claimant=claimant,
            encoding=self._encoding,
            dedup=self.experiment.dedup,
            walk=self._walk,
        )
        self._source = PointSource(database, self.experiment, self._encoding, self.status, claimant)
        self._prefetch = Prefetch(self._link, self._source, self._unconfirmed)

    def look(self, status: StudyStatus) -> None:
        """Takes note of where the study stands now; the next claims find out whether that helps."""
        if status.definition != self.status.definition:
            self._adopt(status.definition)
        self.status = status
        self.is_idle = False
        self._parked.release_all()

    def _adopt(self, definition: str) -> None:
        """A person gave the study another budget, here or on another host."""
        try:
            self.experiment = self.experiment.adopt(definition)
        except InvalidInput as error:
            # A newer tuned may have written it: it hurts this experiment only.
            self.pause_reason = str(error)
        self.log.info("definition changed", pause_reason=self.pause_reason)

    def mend(self) -> None:
        """A person looked at the failures and wants the search to go on here."""
        self._failures_in_a_row = 0
        self.pause_reason = ""
        self.is_idle = False

    def count_ending(self, ending: Ending) -> bool:
        """Takes note of how an evaluation ended here; True if that was one failure too many.

        Before the database knows of it: it may be slower than what fails at once.
        """
        self._failures_in_a_row = 0 if ending.failure is None else self._failures_in_a_row + 1
        if self.pause_reason or self._failures_in_a_row < MOST_FAILURES_IN_A_ROW:
            return False
        self.pause_reason = f"paused after {MOST_FAILURES_IN_A_ROW} failures in a row on this host"
        return True

    def note_ended(self, claimed: Claimed, seconds: float) -> None:
        """Takes note that a trial has ended after so long, and that the database will be told."""
        self._unconfirmed.add(claimed.trial_id, claimed.point.key)
        self._prefetch.note_evaluated(seconds)

    def note_told(self, trial_id: int) -> None:
        """Takes note that the database has the result of a trial."""
        self._unconfirmed.settle(trial_id)
        self._parked.release(trial_id)
        if self.busy:
            self._prefetch.draw_ahead(self.busy)

    async def refresh(self) -> bool:
        """Looks where the study stands, and closes it if it is over. False if it was deleted.

        Raises DatabaseAway.
        """
        study_id = self.status.study_id
        found = await self._link.call(study_statuses, [study_id])
        status = found.get(study_id)
        if status is None or status.uid != self.status.uid:
            return False
        if status.is_over and status.state in (StudyState.OPEN, StudyState.PAUSED):
            await self._link.call(close_if_over, study_id)
            found = await self._link.call(study_statuses, [study_id])
            status = found.get(study_id, status)
        self.look(status)
        return True

    async def charge_retry(self, claimed: Claimed) -> bool:
        """Charges one more evaluation; False if the budget does not allow it. Raises DatabaseAway."""
        return await self._link.run(self._claims.charge_retry, claimed)

    async def claim_next(self, slot: int) -> Outcome:
        """Draws one point for a slot and claims it. Raises DatabaseAway.

        Anything but Claimed means that the slot has nothing to run yet; it may ask again while
        ``may_start`` says so.
        """
        with self._prefetch.claim():
            outcome = await self._claim_next(slot)
        if isinstance(outcome, Claimed) and outcome.incarnation != self._incarnation:
            # While we waited for the answer the fleet took us for dead: others may have it by now.
            self.log.warning("claim came too late", trial=outcome.number)
            outcome = Closed()
        match outcome:
            case Claimed():
                self._duplicates[slot] = 0
                self._prefetch.note_claimed(self.busy)
            case Duplicate():
                self._note_duplicate(slot, outcome)
            case Idle() | Closed():
                await self._rest()
        return outcome

    async def _rest(self) -> None:
        """Looks whether the study is over; else nothing is to be found out until a trial ends or the beat."""
        told = self._unconfirmed.told
        self.is_idle = True
        await self.refresh()
        # A result that came while we looked may have freed or finished what we did not see.
        self.is_idle = told == self._unconfirmed.told

    def _note_duplicate(self, slot: int, duplicate: Duplicate) -> None:
        origin = duplicate.candidate.origin
        if origin is Origin.SAMPLER and not duplicate.candidate.was_parked:
            self._duplicates[slot] += 1
        if duplicate.action is Action.WAIT:
            self._parked.park(duplicate)
            return
        # Without a trial of its own there is none to name.
        trial = {} if duplicate.number is None else {"trial": duplicate.number}
        self.log.info(
            "duplicate",
            action=duplicate.action.value,
            origin=origin.value,
            twin=duplicate.twin.number,
            slot=slot,
            **trial,
        )

    async def _claim_next(self, slot: int) -> Outcome:
        while self._unknown:
            # Taken out first: two slots must not look for the same claim, and both adopt it.
            claim_id, origin = self._unknown.popleft()
            found = await self._guarded(claim_id, origin, self._link.run(self._claims.find, claim_id, origin))
            if found is not None:
                return found
        candidate = await self._owed()
        if candidate is not None:
            return await self._claim(candidate)
        waiting = self._next_waiting()
        if waiting is not None:
            return await self._claim_waiting(waiting)
        if self._duplicates[slot] < self.experiment.dedup.patience and self._source.samples:
            return await self._claim_drawn()
        if self._walk is None:
            return await self._claim(self._source.uniform())
        claim_id = new_claim_id()
        return await self._guarded(
            claim_id, Origin.WALK, self._link.run(self._claims.claim_unvisited, claim_id)
        )

    async def _owed(self) -> Candidate | None:
        """What goes ahead of the sampler: parked duplicates, ``[[points]]``, and what was aborted or lost."""
        if ready := self._parked.next_ready():
            return ready
        if self._forced:
            return Candidate(point=self._forced.popleft(), origin=Origin.POINTS)
        if self.status.free:
            freed = await self._link.run(self._claims.next_freed)
            if freed is None:
                await self.refresh()
            return freed
        return None

    def _next_waiting(self) -> int | None:
        """An enqueued trial that is not parked already."""
        parked = self._parked.enqueued
        return next((trial_id for trial_id in self.status.waiting if trial_id not in parked), None)

    async def _claim_waiting(self, trial_id: int) -> Outcome:
        fixed = await self._link.call(fixed_params, trial_id)
        try:
            draft = await self._link.draw(self._source.complete, fixed, trial_id)
        except ValueError as error:
            self.log.warning("enqueued trial does not fit the space", error=str(error))
            await self._link.call(fail_waiting, trial_id, str(error))
            return Closed()
        outcome = await self._claim_draft(draft)
        if not (isinstance(outcome, Duplicate) and outcome.action is Action.WAIT):
            await self.refresh()
        return outcome

    async def _claim_drawn(self) -> Outcome:
        draft = await self._prefetch.next(self.busy)
        outcome = await self._claim_draft(draft)
        if isinstance(outcome, Duplicate) and draft.candidate.is_ahead:
            # What became a duplicate since it was drawn is nobody's choice.
            return await self._claim_draft(await self._prefetch.fresh(self.busy))
        return outcome

    async def _claim_draft(self, draft: Draft) -> Outcome:
        try:
            return await self._claim(draft.candidate)
        finally:
            self._source.release(draft)

    async def _claim(self, candidate: Candidate) -> Outcome:
        # What was evaluated here a moment ago is no longer running, and must not be taken for it.
        await self._unconfirmed.arrival_of(candidate.point.key)
        try:
            return await self._guarded(
                candidate.claim_id, candidate.origin, self._link.run(self._claims.claim, candidate)
            )
        except DatabaseAway:
            if candidate.origin is Origin.POINTS:
                # Claiming it again finds out whether it was claimed.
                self._forced.appendleft(candidate.point)
            raise

    async def _guarded(self, claim_id: str, origin: Origin, claim: Awaitable[R]) -> R:
        try:
            return await claim
        except DatabaseAway:
            self._unknown.append((claim_id, origin))
            raise
