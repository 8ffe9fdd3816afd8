"""Slots: the way of one evaluation through claim, run and tell.

Each slot is one task. A free slot takes the experiment whose turn it is (``trials/turns``); a slot that finds
nothing waits until something changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

import structlog

from tuned.control.metrics import Endings
from tuned.daemon.code.trees import CodeTrees
from tuned.daemon.gpu_pool import Gpus, Grant
from tuned.daemon.retrying import insisted
from tuned.daemon.trials.adoptions import Adoptions
from tuned.daemon.trials.beginnings import Beginnings
from tuned.daemon.trials.card_users import CardUsers
from tuned.daemon.trials.chores import Doer, Here
from tuned.daemon.trials.evaluations import Evaluations
from tuned.daemon.trials.interpreters import carry_out
from tuned.daemon.trials.judge import Judge
from tuned.daemon.trials.premises import Premises
from tuned.daemon.trials.questions import Questions
from tuned.daemon.trials.running import Running, log_ending, outcome
from tuned.daemon.trials.turns import Turns
from tuned.domain.claim import Claimed, Duplicate
from tuned.domain.ending import Cause, Failure
from tuned.domain.resources import Shortfall
from tuned.domain.states import SearchState
from tuned.errors import DatabaseAway
from tuned.experiment.tables.fleet import Membership
from tuned.keeper.conversation import KeeperLost
from tuned.storage.connection.faults import reason_of
from tuned.storage.trials.settling import give_back, settle_own
from tuned.systemd import log
from tuned.trial import cgroup
from tuned.trial.evaluation import evaluate
from tuned.trial.programs import is_forked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.teller import Teller
    from tuned.disk.layout import Layout
    from tuned.search.search import Search
    from tuned.storage.link import Link
    from tuned.trial.evaluation import Evaluation, Site
    from tuned.trial.keeping import Keeper, Kept
    from tuned.trial.progress import Progress

_log: FilteringBoundLogger = structlog.get_logger()


class Scheduler:
    """The slots of one host and the searches that they serve. Belongs to the event loop's thread."""

    def __init__(
        self, link: Link, teller: Teller, site: Site, keeper: Keeper, slots: int, *, doer: Doer | None = None
    ) -> None:
        """``doer`` works on the files of trials, if this process may not."""
        self._link = link
        self._teller = teller
        self._site = site
        self._judge = Judge(link, keeper.note)
        self._questions = Questions(link, self._judge)
        self._keeper = keeper
        self.doer = doer or Here(site.layout)
        run = functools.partial(carry_out, keeper)
        self.code = CodeTrees(link, site, run, self._reassess, self.doer)
        self._premises = Premises(site, run, self.code.doubt, self.doer)
        self._evaluations = Evaluations(site, keeper, teller, self._premises, self.code.placed)
        self.adoptions = Adoptions(keeper, self, self._evaluations, site.host)
        self.searches: dict[str, Search] = {}
        #: Held while a search is admitted, and while files of studies go that no search here is of.
        self.admitting = asyncio.Lock()
        #: By slot; None while it is idle.
        self.slots: list[Running | None] = [None] * slots
        self.beginnings = Beginnings(self.slots)
        self.endings = Endings()
        #: By study and claim: of trials that were killed, how many evaluations had ended by themselves.
        self._killed: defaultdict[int, dict[str, int]] = defaultdict(dict)
        #: By slot: trials that an earlier daemon began, until their slots are served.
        self._adopted: dict[int, tuple[Running, Grant]] = {}
        self.membership = Membership(host=site.host)
        #: None until it is equipped.
        self.gpus = Gpus(())
        self.card_users = CardUsers(self.doer, site.state.installation_id, self.gpus, self.wake)
        #: How many slots there are to be; a busy slot above this ends when its trial has.
        self._wanted = slots
        self._serving: set[int] = set()
        self._group: asyncio.TaskGroup | None = None
        self.is_draining = False
        self._changed = asyncio.Event()
        self._turns = Turns()

    @property
    def layout(self) -> Layout:
        """The directories in which trials leave something."""
        return self._site.layout

    def wake(self) -> None:
        """Lets idle slots look again, and ends the fork servers that no slot needs."""
        self._keeper.keep(self._studies_at_work())
        self._changed.set()
        self._changed = asyncio.Event()

    def _studies_at_work(self) -> set[str | None]:
        """Those that need a fork server of their own, by uid, and None if others need that of commands.

        A host may have hundreds of searches, and this is asked for several times a trial.
        """
        studies: set[str | None] = set()
        for search in self.searches.values():
            study = search.status.uid if is_forked(search.experiment) else None
            may_need_it = search.busy or not self.beginnings.is_off
            if study not in studies and may_need_it and search.is_at_work:
                studies.add(study)
        return studies

    async def written(self) -> None:
        """Waits until the output of all trials that have ended is in their files, within bounds."""
        await self._keeper.written()

    def drain(self) -> None:
        """Lets the running trials finish; nothing more is claimed."""
        self.is_draining = True
        self.wake()

    def go_on(self) -> None:
        """The daemon is not replaced: points are claimed again."""
        self.beginnings.is_held = False
        self.wake()

    async def run(self) -> None:
        """Runs all slots until they are drained. If cancelled, kills the trials and tells no results."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self.resize(self._wanted)
        finally:
            await self._judge.end()
            await self.code.end()
            await self._keeper.close()

    def resize(self, slots: int) -> None:
        """Changes the number of slots; a trial in a surplus slot finishes first."""
        self._wanted = slots
        self._keeper.resize(slots)
        self.slots.extend([None] * (slots - len(self.slots)))
        self._trim()
        if self._group is not None:
            for slot in {*range(slots), *self._adopted} - self._serving:
                self._serving.add(slot)
                self._group.create_task(self._serve(slot), name=f"slot-{slot}")
        self.wake()

    def adopt(self, search: Search, progress: Progress, claimed: Claimed, kept: Kept) -> None:
        """Goes on with a trial that an earlier daemon began, in its slot if that is free."""
        slot = self._room_for(progress.slot)
        self.slots.extend([None] * (slot + 1 - len(self.slots)))
        evaluation = self._evaluations.resumed(progress, slot, claimed, kept.notes)
        evaluation.on_unforked = search.note_unforked
        search.busy += 1
        grant = self.gpus.take(progress.cards, search.experiment.resources.cards)
        with log.trial_fields(
            experiment=search.name, trial=claimed.number, slot=slot, attempt=progress.attempt
        ):
            _log.info("trial adopted", seconds=round(kept.seconds, 1))
            running = self._begin(slot, search, evaluation)
        running.began -= kept.seconds
        running.is_adopted = True
        self._adopted[slot] = running, grant
        self.resize(self._wanted)

    def _room_for(self, slot: int) -> int:
        """This slot, or another one that has no trial. Once slots are served, only a surplus one has none."""
        first = 0 if self._group is None else self._wanted
        places = itertools.chain([slot], itertools.count(first))
        taken = {number for number, running in enumerate(self.slots) if running is not None} | self._serving
        return next(place for place in places if place not in taken)

    def admit(self, search: Search) -> None:
        """Adds a search for the slots to serve."""
        self.searches[search.name] = search
        self.assess(search)
        if unenforced := search.shortfall.unenforced:
            search.log.warning("limits not kept", reason=unenforced)

    def equip(self, cards: Sequence[str], membership: Membership | None = None) -> None:
        """Replaces the GPUs, and what this host says of itself; a trial on a removed card goes on."""
        self.gpus.equip(cards)
        self.membership = membership or self.membership
        self._reassess()

    def _reassess(self) -> None:
        for search in self.searches.values():
            self.assess(search)
        self.wake()

    def assess(self, search: Search) -> None:
        """Finds out why this host does not work on it, and which limits of its trials are not kept."""
        wanted = search.experiment.resources
        refusal = self.membership.refusal(search.experiment.fleet, origin=search.adoption.origin)
        missing = refusal or self.gpus.missing(wanted.cards) or self.code.pending(search.experiment)
        unenforced = cgroup.unenforced(wanted, self._site.cgroups)
        search.assess(Shortfall(missing=missing, unenforced=unenforced))

    def running(self, name: str) -> list[Running]:
        return [running for running in self.slots if running is not None and running.search.name == name]

    async def interrupt(self, search: Search, incarnation: str) -> None:
        """Kills the trials of a search and settles them as aborted; nothing new may start in it meanwhile."""
        for running in self.running(search.name):
            running.task.cancel()
        while search.busy:
            await self._changed.wait()
        await self.settle(search, incarnation)

    async def settle(self, search: Search, incarnation: str) -> None:
        """Settles the killed trials of a search as aborted, except those whose results are still to be told.

        Raises DatabaseAway.
        """
        study_id = search.status.study_id
        kept = self._teller.claims.keys()
        ended = dict(self._killed[study_id])
        settled = await self._link.call(settle_own, study_id, incarnation, but_not=kept, ended=ended)
        self._killed.pop(study_id, None)
        search.announce.aborted(settled)

    async def left(self, search: Search) -> None:
        """Waits until a search is not served any more."""
        while self.searches.get(search.name) is search:
            await self._changed.wait()

    async def over(self, seconds: float) -> None:
        """Waits until a claim finds out that a study is over; at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not any(search.was_found_over for search in self.searches.values()):
                    await self._changed.wait()

    async def kill_all(self) -> None:
        """Kills the trials of all searches: the fleet has given their points to others."""
        for search in self.searches.values():
            search.let_go()
        tasks = [running.task for running in self.slots if running is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Others settle them.
        self._killed.clear()

    async def _serve(self, slot: int) -> None:
        if (adopted := self._adopted.pop(slot, None)) is not None:
            running, grant = adopted
            evaluation = self._see_out_adopted(slot, running)
            turn = self._settled(running.search, running.claimed, evaluation)
            await self._take_turn(running.search, grant, turn)
        while slot < self._wanted and not self.is_draining:
            # Taken before the look, so that no change after the look is missed.
            changed = self._changed
            chosen = self._choose()
            if chosen is None:
                await changed.wait()
                continue
            search, grant = chosen
            search.busy += 1
            await self._take_turn(search, grant, self._turn_of(slot, search, grant))
        self._serving.discard(slot)
        self._trim()

    async def _take_turn(self, search: Search, grant: Grant, turn: Awaitable[None]) -> None:
        """Serves a search once. If anything in it fails, it rests, and the slot goes on with the others."""
        try:
            await turn
            search.note_turn()
        except DatabaseAway:
            await self._link.back()
        except Exception as error:  # noqa: BLE001 (a loop's edge)
            search.rest(error)
        finally:
            search.busy -= 1
            self.gpus.give_back(grant)
            self.wake()

    def _trim(self) -> None:
        while len(self.slots) > self._wanted and self.slots[-1] is None:
            self.slots.pop()

    def _choose(self) -> tuple[Search, Grant] | None:
        searches = self.searches.values() if self.beginnings.may_claim else ()
        return self._turns.next(searches, len(self.slots), self.gpus)

    async def _turn_of(self, slot: int, search: Search, grant: Grant) -> None:
        if not await self.code.is_ready(search.experiment):
            self.assess(search)
            return
        if not await self.card_users.are_free(grant.ids):
            return
        await self._premises.verify(self.code.placed(search.experiment))
        with self.beginnings.claiming() as may_claim:
            outcome = await search.claim_next(slot) if may_claim else None
        if isinstance(outcome, Duplicate):
            search.announce.duplicate(outcome)
        elif isinstance(outcome, Claimed) and self.beginnings.is_off:
            await self._give_up(search, outcome, "the hours of this host were over before it began")
        elif isinstance(outcome, Claimed):
            await self._settled(search, outcome, self._evaluate(slot, search, outcome, grant.ids))

    async def _settled(self, search: Search, claimed: Claimed, evaluation: Awaitable[None]) -> None:
        """Gives the point back if this host cannot evaluate it."""
        try:
            await evaluation
        except OSError as error:
            # A person has to look.
            reason = f"cannot begin a trial on this host: {error}"
            search.pause(reason)
            await self._give_up(search, claimed, reason)
        except KeeperLost as error:
            await self._give_up(search, claimed, str(error), Cause.LOST)
        except Exception as error:
            await self._give_up(search, claimed, f"cannot evaluate on this host: {reason_of(error)}")
            raise

    async def _evaluate(self, slot: int, search: Search, claimed: Claimed, cards: tuple[str, ...]) -> None:
        with log.trial_fields(experiment=search.name, trial=claimed.number, slot=slot, attempt=1):
            origin, point = claimed.candidate.origin.value, dict(claimed.point.values)
            _log.info("trial started", origin=origin, params=point)
            search.announce.started(claimed, slot)
            evaluation = self._evaluations.of(search, slot, claimed, cards)
            await self._see_out(slot, self._begin(slot, search, evaluation))

    async def _see_out_adopted(self, slot: int, running: Running) -> None:
        name, number, attempt = running.search.name, running.claimed.number, running.evaluation.attempt
        with log.trial_fields(experiment=name, trial=number, slot=slot, attempt=attempt):
            await self._see_out(slot, running)

    def _begin(self, slot: int, search: Search, evaluation: Evaluation) -> Running:
        claimed, case = evaluation.claimed, self._judge.open(search, evaluation)
        evaluation.answer = functools.partial(self._questions.answer, claimed.study_id, case)
        charge = functools.partial(self._charge_retry, search, evaluation)
        task = asyncio.create_task(evaluate(evaluation, charge))
        running = self.slots[slot] = Running(
            search=search, claimed=claimed, evaluation=evaluation, task=task, case=case
        )
        if search.state is SearchState.ENDING:
            # Claimed before the end, and granted after the others were killed.
            task.cancel()
        return running

    async def _see_out(self, slot: int, running: Running) -> None:
        """Waits for the end of a trial, and hands its result over."""
        search, evaluation, ending = running.search, running.evaluation, None
        try:
            ending = await outcome(running.task)
        finally:
            self.slots[slot] = None
            if running.case is not None:
                self._judge.close(running.case)
            if running.task.cancelled():
                _log.warning("trial aborted", attempt=evaluation.attempt)
                self.endings.count_aborted(running.seconds)
                self._killed[running.claimed.study_id][running.claimed.claim_id] = evaluation.ended
            if ending is None:
                self._keeper.forget(evaluation.key)
        if ending is not None:
            self.endings.count(ending, running.seconds)
            result = search.result(running.claimed, self._site.host, ending)
            search.note_ended(result, running.seconds)
            self._evaluations.hand_over(result, evaluation)
            log_ending(ending, evaluation.attempt)
            search.count_ending(ending)

    async def _give_up(
        self, search: Search, claimed: Claimed, reason: str, cause: Cause = Cause.ABORTED
    ) -> None:
        """Gives a trial of an open experiment back, and says so."""
        failure = Failure(cause=cause, message=reason)
        search.log.warning("trial given back", trial=claimed.number, cause=cause.value, reason=reason)
        await self.give_back(claimed, failure)
        search.announce.given_back(claimed.number, failure)

    async def give_back(self, claimed: Claimed, failure: Failure) -> None:
        """Ends a trial that has no ending of its own, and frees its point."""
        study_id, claim_id = claimed.study_id, claimed.claim_id
        await insisted(self._link, lambda: self._link.call(give_back, study_id, claim_id, failure))

    async def _charge_retry(self, search: Search, evaluation: Evaluation) -> bool:
        claimed, charged = evaluation.claimed, evaluation.evaluations
        return await insisted(self._link, lambda: search.charge_retry(claimed, charged))
