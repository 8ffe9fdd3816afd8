"""The judge of this host's running trials: takes their reports, and asks their rules about them in rounds.

However much trials report, it must never take more than a twentieth of one processor. Without a database, or
without time, it decides nothing: pruning saves, and is no duty.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import structlog

from tuned.errors import DatabaseAway
from tuned.search.pruning import Judgement, PruningStudy, Reported

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.experiment.pruners import Pruner
    from tuned.search.search import Search
    from tuned.storage.link import Link
    from tuned.trial.curve import Report
    from tuned.trial.evaluation import Evaluation
    from tuned.trial.keeping import Verdict

_log: FilteringBoundLogger = structlog.get_logger()

#: How old the facts of other hosts' trials may be.
SYNC_SECONDS = 0.25

#: The part of one processor's time that all rounds together take, and the time over which that is meant.
SHARE = 0.05
BURST_SECONDS = 5.0

#: Of a trial's reports so many wait for a round; of more the oldest are not judged by themselves.
MOST_WAITING = 1000


@dataclass(slots=True, kw_only=True, eq=False)
class Case:
    """One running trial that a rule looks at."""

    search: Search
    pruner: Pruner
    evaluation: Evaluation
    #: Of the attempt whose reports wait.
    verdict: Verdict
    #: The reports that are still to be judged: steps, and values of the objective that the rule looks at.
    waiting: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    is_in_round: bool = False

    def note(self, report: Report) -> None:
        if self.verdict is not self.evaluation.verdict:
            # Another attempt has begun.
            self.verdict = self.evaluation.verdict
            self.waiting.clear()
        self.waiting.append((report.step, report.values[self.pruner.objective]))

    @property
    def is_due(self) -> bool:
        return bool(self.waiting) and not self.verdict.is_given

    def taken(self) -> Reported:
        """Its reports, of which none waits any more."""
        new = list(self.waiting)
        self.waiting.clear()
        steps = {step for step, _ in new}
        judged = {step: value for step, value in self.evaluation.curve.values.items() if step not in steps}
        return Reported(
            trial_id=self.evaluation.claimed.trial_id,
            number=self.evaluation.claimed.number,
            judged=judged,
            new=new,
            rungs=dict(self.evaluation.system_attrs),
        )


@dataclass(slots=True, kw_only=True)
class _Bench:
    """The trials of one study as a rule sees them."""

    study: PruningStudy
    synced_at: float = 0.0
    is_faulty: bool = False

    @property
    def is_fresh(self) -> bool:
        is_young = time.monotonic() - self.synced_at < SYNC_SECONDS
        # A trial that reports once is judged once: all that ended here before counts.
        return is_young and not self.study.history.has_notes


class Judge:
    """Belongs to the event loop's thread."""

    def __init__(self, link: Link, note: Callable[[str, Mapping[str, object]], object]) -> None:
        """``note`` keeps the rungs that a run has reached, by its key, for another daemon."""
        self._link = link
        self._note_rungs = note
        self._benches: WeakKeyDictionary[Search, _Bench] = WeakKeyDictionary()
        self._due: dict[Case, None] = {}
        self._rounds: asyncio.Task[None] | None = None
        self._round_over = asyncio.Event()
        #: When the time that it took has been paid off.
        self._paid_at = 0.0

    def open(self, search: Search, evaluation: Evaluation) -> Case | None:
        """A case of a trial that begins, which hears of its reports; None if its experiment has no pruner."""
        pruner = evaluation.experiment.pruner
        if pruner is None:
            return None
        case = Case(search=search, pruner=pruner, evaluation=evaluation, verdict=evaluation.verdict)
        evaluation.on_report = functools.partial(self._note, case)
        return case

    def close(self, case: Case) -> None:
        """Its trial has ended."""
        case.waiting.clear()
        self._due.pop(case, None)

    async def is_to_end(self, case: Case) -> bool:
        """Whether a trial that asks is to end, by all that it has reported, if that can be said soon."""
        while (case.is_due or case.is_in_round) and not self.must_rest and self._link.problem is None:
            await self._round_over.wait()
        return case.evaluation.verdict.is_given

    async def end(self) -> None:
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.wait([self._rounds])

    @property
    def is_idle(self) -> bool:
        return self._rounds is None or self._rounds.done()

    @property
    def must_rest(self) -> bool:
        return time.monotonic() < self._paid_at

    def _note(self, case: Case, report: Report) -> None:
        case.note(report)
        self._due[case] = None
        if self.is_idle:
            self._rounds = asyncio.create_task(self._judge_all(), name="judge")

    async def _judge_all(self) -> None:
        """Round after round, until nothing is due."""
        while self._due:
            await asyncio.sleep(max(0.0, self._paid_at - time.monotonic()))
            by_search: dict[tuple[Search, Pruner], list[Case]] = {}
            for case in self._due:
                by_search.setdefault((case.search, case.pruner), []).append(case)
            self._due.clear()
            for (search, pruner), cases in by_search.items():
                # A trial that is to end may go on reporting in its grace.
                if due := [case for case in cases if case.is_due]:
                    await self._judge(search, pruner, due)

    async def _judge(self, search: Search, pruner: Pruner, cases: Sequence[Case]) -> None:
        bench = self._bench_of(search, pruner)
        for case in cases:
            case.is_in_round = True
        try:
            if not bench.is_fresh:
                self._pay(await self._link.run(_synced, bench.study, pruner))
                bench.synced_at = time.monotonic()
            began = time.thread_time()
            taken = [(case, case.verdict, case.taken()) for case in cases]
            self._pay(time.thread_time() - began)
            trials = [trial for _, _, trial in taken]
            judgements, seconds = await asyncio.to_thread(_judged, bench.study, pruner, trials)
            self._pay(seconds)
            for (case, verdict, _), judgement in zip(taken, judgements, strict=True):
                self._tell(case, verdict, judgement)
            bench.is_faulty = False
        except DatabaseAway:
            self._due.update(dict.fromkeys(cases))
            self._end_round(cases)
            await self._link.back()
        except Exception:
            # A loop's edge: the trials go on.
            if not bench.is_faulty:
                search.log.exception("no trial is pruned on this host", pruner=pruner.name)
            bench.is_faulty = True
        finally:
            self._end_round(cases)

    def _tell(self, case: Case, verdict: Verdict, judgement: Judgement) -> None:
        evaluation = case.evaluation
        if evaluation.verdict is not verdict:
            # The attempt has ended meanwhile.
            return
        if judgement.rungs.items() - evaluation.system_attrs.items():
            evaluation.system_attrs.update(judgement.rungs)
            self._note_rungs(evaluation.key, evaluation.system_attrs)
        if judgement.pruning is not None:
            verdict.give(judgement.pruning)

    def _bench_of(self, search: Search, pruner: Pruner) -> _Bench:
        bench = self._benches.get(search)
        if bench is None or bench.study.history is not search.history:
            study = PruningStudy(
                self._link.database,
                search.experiment,
                search.status,
                search.history,
                objective=pruner.objective,
            )
            bench = self._benches[search] = _Bench(study=study)
        return bench

    def _end_round(self, cases: Sequence[Case]) -> None:
        for case in cases:
            case.is_in_round = False
        self._round_over.set()
        self._round_over = asyncio.Event()

    def _pay(self, seconds: float) -> None:
        now = time.monotonic()
        self._paid_at = max(self._paid_at, now - BURST_SECONDS) + seconds / SHARE


def _synced(study: PruningStudy, pruner: Pruner) -> float:
    """In a thread: reads what is new; returns the processor's time that it took."""
    began = time.thread_time()
    study.sync(pruner)
    return time.thread_time() - began


def _judged(study: PruningStudy, pruner: Pruner, trials: Sequence[Reported]) -> tuple[list[Judgement], float]:
    """In a thread: what the rule says of each trial, and the processor's time that it took."""
    began = time.thread_time()
    return [study.judge(pruner, trial) for trial in trials], time.thread_time() - began
