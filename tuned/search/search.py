"""One experiment on this host: where its study stands, when it is over, why the host does not work on it.

A search runs nothing. It knows of the study in the database where the study stood at the last look; a claim
finds out how it stands now. ``claiming`` draws and claims.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Self

import structlog

from tuned.domain.claim import Claimant, Claimed, Closed, Idle, Outcome
from tuned.domain.ending import MOST_CRASHES_IN_A_ROW, Ending
from tuned.domain.resources import Shortfall
from tuned.domain.result import Result
from tuned.domain.states import SEARCH_TRANSITIONS, SearchState, StudyState, advance
from tuned.domain.study_status import StudyStatus
from tuned.errors import Conflict, InvalidInput
from tuned.search.adoption import Adoption
from tuned.search.announcements import Announcements
from tuned.search.claiming import Backlog, Claiming
from tuned.search.fault import Faults, traced, way_on
from tuned.search.sampling import PointSource
from tuned.storage.connection.faults import reason_of
from tuned.storage.studies import close_if_over, study_statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import FilteringBoundLogger

    from tuned.events import Events
    from tuned.experiment.experiment import Experiment
    from tuned.storage.encoding import Encoding
    from tuned.storage.history import History
    from tuned.storage.link import Link

_log: FilteringBoundLogger = structlog.get_logger()


class Search:
    """One experiment on this host. Belongs to the event loop's thread."""

    def __init__(
        self,
        link: Link,
        events: Events,
        experiment: Experiment,
        *,
        encoding: Encoding,
        status: StudyStatus,
        source: PointSource,
        file: str,
    ) -> None:
        self.adoption = Adoption(experiment, status)
        #: The name of its file in the spool, without suffix; usually, not always, the experiment's.
        self.file = file
        self.status = status
        #: The scheduler knows.
        self.shortfall = Shortfall()
        #: Slots that claim or evaluate for this search now.
        self.busy = 0
        self.log = _log.bind(experiment=experiment.name)
        self.announce = Announcements(events, experiment.name)
        self._link = link
        self._encoding = encoding
        self._state = SearchState.WORKING
        #: Of the state, for people.
        self._reason = ""
        #: Why its study cannot be read; empty while it can.
        self._unreadable = ""
        self._faults = Faults()
        self._crashes_in_a_row = 0
        self._unforked = ""  #: Why its trials are not forked here; empty if they are.
        self._backlog = Backlog(points=deque(experiment.points))
        self._claiming = self._claiming_from(source)

    @classmethod
    async def begin(
        cls,
        link: Link,
        events: Events,
        experiment: Experiment,
        *,
        encoding: Encoding,
        status: StudyStatus,
        claimant: Claimant,
        file: str,
    ) -> Self:
        """Makes the sampler in a thread. Raises what Optuna raises for sampler options that it refuses."""
        source = await link.draw(PointSource, link.database, experiment, encoding, status, claimant)
        return cls(link, events, experiment, encoding=encoding, status=status, source=source, file=file)

    @property
    def experiment(self) -> Experiment:
        """As this host runs it now."""
        return self.adoption.experiment

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def state(self) -> SearchState:
        return self._state

    @property
    def reason(self) -> str:
        """Of its state on this host, for people."""
        return self._reason

    @property
    def why_idle(self) -> str:
        """Why it starts nothing here and may not for long, also while it tries again; empty otherwise."""
        if self._state in (SearchState.PAUSED, SearchState.RESTING):
            return self._reason
        return "" if self.busy or self._faults.last is None else self._faults.last.reason

    @property
    def note(self) -> str:
        return self.noted(self.status.pause_reason)

    def noted(self, paused: str) -> str:
        """Why this host does not evaluate, or how it does so; the fleet's reason of a pause comes first."""
        why = f"{paused}; {way_on(self.name)}" if paused else self._reason or self.why_idle
        name = self.status.name or self.name
        called = f"another program renamed study {self.name} to {name}" if name != self.name else ""
        return "; ".join(filter(None, (why, self.shortfall.unenforced, self._unforked, called)))

    @property
    def was_found_over(self) -> bool:
        """The study has ended, and nothing has been done about it here yet."""
        return self.status.has_ended and self._state is not SearchState.ENDING and not self._faults.waiting

    @property
    def is_due(self) -> bool:
        """Something failed here, and it is time to try again."""
        return self._faults.waiting is not None and self._faults.waiting.is_due

    @property
    def parked(self) -> int:
        return len(self._backlog.parked)

    def may_start(self, slots: int) -> bool:
        """Whether a free slot may ask this search for a point."""
        return (
            self._state is SearchState.WORKING
            and self.status.state is StudyState.OPEN
            and not (self.status.is_full or self.status.is_exhausted)
            and self.busy < (self.experiment.parallel or slots)
        )

    @property
    def is_at_work(self) -> bool:
        """A trial runs for it here and others may follow, or one may be started."""
        is_open = self.status.state is StudyState.OPEN and self._state is not SearchState.PAUSED
        return is_open and (self.busy > 0 or self.may_start(slots=1))

    def assess(self, shortfall: Shortfall) -> None:
        """Takes note of the resources that this host cannot give to its trials."""
        before, self.shortfall = self.shortfall, shortfall
        if shortfall == before:
            return
        self._reconsider()
        if shortfall.missing and shortfall.missing != before.missing:
            self.log.warning("experiment rests on this host", reason=shortfall.missing)
        self.announce_state()

    def pause(self, reason: str) -> None:
        """Evaluates nothing more here until a person resumes it."""
        if self._enter(SearchState.PAUSED, reason):
            self.log.error("experiment paused on this host", reason=reason)
            self.announce_state()

    def resume(self) -> None:
        """A person looked at the failures, maybe edited the module, and wants the search to go on here."""
        self._crashes_in_a_row = 0
        self._unforked = ""
        self._faults.forget()
        if self._state in (SearchState.PAUSED, SearchState.IDLE, SearchState.RESTING):
            self._go_on()

    def rest(self, error: Exception) -> None:
        """Starts nothing for a while, because something of this experiment failed here."""
        is_new = self._faults.add(error)
        self._reconsider()
        if is_new:
            self.log.error("experiment rests on this host", reason=reason_of(error), exc_info=traced(error))
            self.announce_state()

    def try_again(self) -> None:
        """The pause after a failure is over. The next failure makes it longer."""
        self._faults.try_again()
        self._reconsider()

    def note_turn(self) -> None:
        """A slot's turn went well, so the next failure is a first one."""
        self._faults.note_success()

    def note_unreadable(self, reason: str) -> None:
        """Starts nothing until the study can be read again, and ``reason`` is empty."""
        before, self._unreadable = self._unreadable, reason
        self._reconsider()
        if reason == before:
            return
        if reason:
            self.log.error("experiment rests on this host", reason=reason)
        self.announce_state()

    def withdraw(self) -> None:
        """Starts nothing new here, because its file was removed from ``active/``."""
        if self._enter(SearchState.WITHDRAWN, "withdrawn on this host"):
            self.log.warning("experiment withdrawn on this host: its file was removed")
            self.announce_state()

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """While its trials are killed and settled. If that fails, the state is restored."""
        before, reason = self._state, self._reason
        self._enter(SearchState.ENDING, reason)
        try:
            yield
        except Exception:
            # The killed trials are settled when the end is looked at again.
            if before in (SearchState.PAUSED, SearchState.WITHDRAWN):
                self._enter(before, reason)
            else:
                self._go_on()
            raise

    def announce_state(self) -> None:
        self.announce.state(self.status.state, self.note, self.status.ended_by)

    def look(self, status: StudyStatus) -> None:
        """Takes note of where the study stands; the next claims find out whether that helps.

        An earlier look that comes later than another is dropped.
        """
        if status.look < self.status.look:
            return
        before, self.status = self.status, status
        self._adopt(status)
        # An end is announced when its consequences are drawn.
        if status.state is not before.state and status.state in (StudyState.OPEN, StudyState.PAUSED):
            self.log.info("experiment state", state=status.state.value, reason=status.pause_reason)
            self.announce_state()
        elif status.ended_by and not before.ended_by and not status.has_ended:
            self.log.info("experiment ends", ended_by=status.ended_by)
            self.announce_state()
        if self._state is SearchState.IDLE:
            self._go_on()
        self._backlog.parked.release_all()

    async def refresh(self) -> bool:
        """Looks where the study stands, and closes it if it is over. False if it was deleted.

        Raises DatabaseAway, ValueError if its row cannot be understood.
        """
        study_id = self.status.study_id
        found = await self._link.call(study_statuses, [study_id])
        status = found.get(study_id)
        if status is None or status.uid != self.status.uid:
            return False
        if status.needs_check and status.state in (StudyState.OPEN, StudyState.PAUSED):
            await self._link.call(close_if_over, study_id)
            found = await self._link.call(study_statuses, [study_id])
            status = found.get(study_id, status)
        self.look(status)
        return True

    async def hold(self, claimant: Claimant) -> None:
        """Claims for this incarnation of the host from now on. May be repeated after an outage."""
        if self._claiming.claimant == claimant:
            return
        source = await self._link.draw(
            PointSource, self._link.database, self.experiment, self._encoding, self.status, claimant
        )
        self._claiming.give_up()
        self._claiming = self._claiming_from(source)

    def let_go(self) -> None:
        """Drops the claims under way, because this host was declared dead."""
        self._claiming.give_up()

    async def claim_next(self, slot: int) -> Outcome:
        """Draws one point for a slot and claims it. Raises DatabaseAway.

        Anything but Claimed means that the slot has nothing to run yet; it may ask again while
        ``may_start`` says so.
        """
        outcome = await self._claiming.next(slot)
        if isinstance(outcome, Idle | Closed):
            await self._rest()
        return outcome

    async def claim_again(self, claimed: Claimed, attempts: int) -> Claimed | None:
        """Writes the trial of a claim again if the database has forgotten it; None if it must not go on.

        Raises DatabaseAway.
        """
        return await self._claiming.claim_again(claimed, attempts)

    @property
    def history(self) -> History:
        """The study's trials as this host knows them; another one for another incarnation."""
        return self._claiming.history

    @property
    def claims_under_way(self) -> set[str]:
        """The claims that may be granted without this host knowing it yet, by id."""
        return self._claiming.under_way

    async def charge_retry(self, claimed: Claimed, charged: int) -> bool:
        """Charges one more than so many evaluations; False if the budget is full. Raises DatabaseAway."""
        return await self._claiming.charge_retry(claimed, charged)

    def count_ending(self, ending: Ending) -> None:
        """Takes note of how an evaluation ended here; one crash too many pauses the search.

        It does not wait for the database, which may be slower than evaluations that fail at once.
        """
        is_crash = ending.failure is not None and ending.failure.is_crash
        self._crashes_in_a_row = self._crashes_in_a_row + 1 if is_crash else 0
        if self.is_sick_here and self._state is not SearchState.PAUSED:
            self.pause(f"{MOST_CRASHES_IN_A_ROW} crashes in a row on this host; {way_on(self.name)}")

    @property
    def is_sick_here(self) -> bool:
        """Whether it has crashed too often in a row on this host."""
        return self._crashes_in_a_row >= MOST_CRASHES_IN_A_ROW

    def note_unforked(self, reason: str) -> None:
        """Takes note that each trial imports its module anew here; says it once."""
        if reason != self._unforked:
            self._unforked = reason
            self.log.warning("trials import their module one by one", reason=reason)
            self.announce_state()

    def note_ended(self, result: Result, seconds: float) -> None:
        """Takes note that a trial has ended after so long, and that the database will be told."""
        self._claiming.note_ended(result, seconds)

    def note_told(self, result: Result) -> None:
        """Takes note that the database has the result of a trial."""
        self._claiming.note_told(result)

    def result(self, claimed: Claimed, host: str, ending: Ending) -> Result:
        """Of a trial that ended here."""
        return self._encoding.result(claimed, self.status.uid, host, ending)

    def _enter(self, state: SearchState, reason: str = "") -> bool:
        """The only place that advances the state; False if it may not follow."""
        if state not in SEARCH_TRANSITIONS[self._state]:
            return False
        self._state, self._reason = advance(SEARCH_TRANSITIONS, self._state, state), reason
        return True

    def _go_on(self) -> None:
        """Works again, unless something keeps it from that."""
        fault = self._faults.waiting
        reason = self.shortfall.missing or self._unreadable or (fault.reason if fault else "")
        self._enter(SearchState.RESTING if reason else SearchState.WORKING, reason)

    def _reconsider(self) -> None:
        if self._state in (SearchState.WORKING, SearchState.IDLE, SearchState.RESTING):
            self._go_on()

    def _adopt(self, status: StudyStatus) -> None:
        """Takes over what a person replaced in the definition, here or on another host."""
        reason = ""
        try:
            changes = self.adoption.follow(status)
        except (Conflict, InvalidInput, ValueError) as error:
            # A newer tuned or a person may have written it.
            reason = reason_of(error)
        else:
            if changes is not None:
                self._claiming.follow(self.experiment)
                self.log.info("definition replaced", revision=status.revision, changes=changes)
        if reason or self._unreadable:
            self.note_unreadable(reason)

    async def _rest(self) -> None:
        """Looks whether the study is over. If not, no slot asks again until a trial ends or the next look."""
        told = self._backlog.unconfirmed.told
        self._enter(SearchState.IDLE)
        await self.refresh()
        # A result that arrived meanwhile may have freed or finished a point that this look did not see.
        if told == self._backlog.unconfirmed.told:
            self._enter(SearchState.IDLE)
        elif self._state is SearchState.IDLE:
            self._go_on()

    def _claiming_from(self, source: PointSource) -> Claiming:
        return Claiming(
            self._link, self, self.experiment, encoding=self._encoding, source=source, backlog=self._backlog
        )
