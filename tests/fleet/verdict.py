"""Holds a fleet's promises against three records: ledger, database, and what befell the hosts."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import optuna
from optuna.trial import FrozenTrial, TrialState

from tests.fleet.hosts import FleetHost
from tests.fleet.lapse import Lapse
from tests.fleet.ledger import Evaluation, Look, SetUp, now
from tests.fleet.snapshots import began_unprepared, ran_otherwise, set_up_again

#: A result that the daemon has not written down when it is killed so soon after is gone with it.
READ_SECONDS = 1.0

#: A host that begins something else so often while a study has points to give has not adopted it.
MOST_TURNS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits of an experiment; None: no limit."""

    points: int
    trials: int | None = None
    evaluations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """How the code of a study was used."""

    #: The digest that each trial must see.
    seen: str
    looks: Sequence[Look]
    set_ups: Sequence[SetUp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The broken promises of one study, in words; and how much was looked at."""

    evaluations: int
    trials: int
    #: Trials that were lost, values that came late, and results that died with their daemon.
    lost: int
    late: int
    died: int
    evaluated_after_value: list[str]
    held_twice: list[str]
    unclaimed: list[str]
    lost_results: list[str]
    dead_without_cause: list[str]
    off_budget: list[str]
    running: list[str]
    idle_hosts: list[str]
    ran_otherwise: list[str]
    set_up_again: list[str]
    began_unprepared: list[str]

    @property
    def broken(self) -> dict[str, list[str]]:
        return {
            "evaluated after having a value": self.evaluated_after_value,
            "held by two live hosts": self.held_twice,
            "evaluated without a claim": self.unclaimed,
            "results lost": self.lost_results,
            "taken for dead without cause": self.dead_without_cause,
            "off the budget": self.off_budget,
            "still RUNNING": self.running,
            "not evaluated by a host at work": self.idle_hosts,
            "ran other code than its snapshot": self.ran_otherwise,
            "set up again without cause": self.set_up_again,
            "began before it was set up": self.began_unprepared,
        }


class Study:
    """One study when all is over."""

    def __init__(
        self,
        study: optuna.Study,
        evaluations: Sequence[Evaluation],
        hosts: Mapping[str, FleetHost],
        given_up: set[int],
        *,
        claims: Mapping[str, int],
        lapses: Sequence[Lapse] = (),
        others: Sequence[Evaluation] = (),
        code: Code | None = None,
    ) -> None:
        """``others`` are the evaluations of all other studies.

        ``given_up`` are the points that the fleet failed for having been lost too often.

        ``claims`` has the number of the trial of each claim.
        """
        self._trials = study.get_trials(deepcopy=False)
        self._evaluations = evaluations
        self._hosts = hosts
        self._given_up = given_up
        self._claims = claims
        self._lapses = lapses
        self._others = others
        self._code = code
        self._of_claim: dict[str, list[Evaluation]] = {}
        for evaluation in evaluations:
            self._of_claim.setdefault(evaluation.claim, []).append(evaluation)

    def judge(self, budget: Budget) -> Verdict:
        missing, code = self._without_complete(), self._code
        died = [e for e in missing if self._died_with_daemon(e)]
        return Verdict(
            evaluations=len(self._evaluations),
            trials=len(self._trials),
            lost=sum(cause_of(trial) == "lost" for trial in self._trials),
            late=sum(is_late(trial) for trial in self._trials),
            died=len(died),
            evaluated_after_value=self._evaluated_after_value(),
            held_twice=self._held_twice(),
            unclaimed=[str(e) for e in self._evaluations if not self._is_claimed(e)],
            lost_results=[str(e) for e in missing if e not in died],
            dead_without_cause=self._dead_without_cause(),
            off_budget=self._off_budget(budget),
            running=[str(t.number) for t in self._trials if t.state is TrialState.RUNNING],
            idle_hosts=[host for host in self._hosts if self.turns_without(host) >= MOST_TURNS],
            ran_otherwise=[] if code is None else ran_otherwise(self._evaluations, code.looks, code.seen),
            set_up_again=[] if code is None else set_up_again(code.set_ups, code.looks, self._hosts),
            began_unprepared=[] if code is None else began_unprepared(code.set_ups, code.looks),
        )

    def turns_without(self, host: str) -> int:
        """How often a host began something else after a point of this study; 0 if it took part.

        Each time, the host was at work while the study had points to give, which others got.
        """
        if any(e.host == host for e in self._evaluations):
            return 0
        given = [(e.started, True) for e in self._evaluations if e.attempt == 1]
        elsewhere = [(e.started, False) for e in self._others if e.host == host]
        begun = [is_given for _, is_given in sorted(given + elsewhere)]
        return sum(before and not after for before, after in pairwise(begun))

    def _is_claimed(self, evaluation: Evaluation) -> bool:
        number = self._claims.get(evaluation.claim)
        if number is None:
            return self._was_forgotten(evaluation.claim)
        trial = self._trials[number]
        return trial.params.get("x") == evaluation.x and host_of(trial) == evaluation.host

    def _evaluated_after_value(self) -> list[str]:
        """Claims and ends are dated under one lock, so their order is that of the clock."""
        valued = {
            trial.params["x"]: trial
            for trial in reversed(self._trials)
            if trial.state is TrialState.COMPLETE and not is_duplicate(trial)
        }
        found = []
        for trial in (
            self._trials[self._claims[claim]] for claim in self._of_claim.keys() & self._claims.keys()
        ):
            value = valued.get(trial.params["x"])
            if value is not None and value.number != trial.number and _began(trial) > _ended(value):
                found.append(f"point {trial.params['x']}: trial {trial.number} after trial {value.number}")
        return found

    def _held_twice(self) -> list[str]:
        by_point: dict[int, list[list[Evaluation]]] = {}
        for attempts in self._of_claim.values():
            by_point.setdefault(attempts[0].x, []).append(attempts)
        found = []
        for of_point in by_point.values():
            of_point.sort(key=lambda attempts: attempts[0].started)
            for place, attempts in enumerate(of_point):
                found += [
                    f"{attempts[-1]} and {later[0]}"
                    for later in of_point[place + 1 :]
                    if self._overlaps(attempts, later[0].started)
                ]
        return found

    def _overlaps(self, attempts: Sequence[Evaluation], at: float) -> bool:
        """Whether a trial was alive on a host that nobody could take for dead, by a claim that all knew."""
        host, began, ended = self._hosts[attempts[0].host], attempts[0].started, attempts[-1].ended
        has_ended = ended is not None and ended <= at
        is_unknown = any(lapse.has_taken(attempts[0].claim, before=at) for lapse in self._lapses)
        return not (host.might_be_dead(began, at) or has_ended or is_unknown)

    def _was_forgotten(self, claim: str) -> bool:
        return any(claim in lapse.claims for lapse in self._lapses)

    def _without_complete(self) -> list[Evaluation]:
        told = {
            (trial.params["x"], trial.value) for trial in self._trials if trial.state is TrialState.COMPLETE
        }
        return [
            e
            for e in self._evaluations
            if e.value is not None and (e.x, e.value) not in told and e.x not in self._given_up
        ]

    def _died_with_daemon(self, evaluation: Evaluation) -> bool:
        """No daemon lived to read its value."""
        host, ended = self._hosts[evaluation.host], evaluation.ended
        assert ended is not None
        unread = any(freeze.was_killed and freeze.covers(ended) for freeze in host.freezes)
        return unread or host.was_stopped(evaluation.started, ended + READ_SECONDS)

    def _dead_without_cause(self) -> list[str]:
        begun = {self._claims[claim] for claim in self._of_claim.keys() & self._claims.keys()}
        return [
            f"trial {trial.number} of {host_of(trial)}"
            for trial in self._trials
            if cause_of(trial) == "lost"
            # A daemon that is killed between a claim and the run leaves nothing that could be adopted.
            and not (trial.number not in begun and self._lost_its_daemon(trial))
            and not self._hosts[host_of(trial)].might_be_dead(
                _by_ledger(_began(trial)), _by_ledger(_ended(trial))
            )
        ]

    def _lost_its_daemon(self, trial: FrozenTrial) -> bool:
        began, ended = _by_ledger(_began(trial)), _by_ledger(_ended(trial))
        return any(began - 1 <= absence.began <= ended for absence in self._hosts[host_of(trial)].absences)

    def _off_budget(self, budget: Budget) -> list[str]:
        """A study goes beyond no limit, and ends when one is met or when all is visited."""
        counted = [trial for trial in self._trials if cause_of(trial) not in ("lost", "aborted")]
        # A late value, and a trial that the database forgot, are charged only if there is room left.
        again = {number for claim, number in self._claims.items() if self._was_forgotten(claim)}
        spared = again | self._failed_first()
        free = sum(is_late(trial) or trial.number in spared for trial in counted)
        trials = len(counted) - free, len(counted)
        evaluations = self._charged(counted)
        limits = ((trials, budget.trials), (evaluations, budget.evaluations))
        beyond = any(limit is not None and least > limit for (least, _), limit in limits)
        is_met = any(limit is not None and most >= limit for (_, most), limit in limits)
        is_exhausted = len({trial.params["x"] for trial in counted} | self._given_up) == budget.points
        if (is_met or is_exhausted) and not beyond:
            return []
        return [
            f"trials {trials[0]} to {trials[1]}, evaluations {evaluations[0]} to {evaluations[1]} of {budget}"
        ]

    def _failed_first(self) -> set[int]:
        """Those that failed before the first value, which may cost nothing."""
        valued = [_ended(trial) for trial in self._trials if trial.state is TrialState.COMPLETE]
        return {
            trial.number
            for trial in self._trials
            if cause_of(trial) == "exit" and all(_ended(trial) <= ended for ended in valued)
        }

    def _charged(self, counted: Sequence[FrozenTrial]) -> tuple[int, int]:
        """How many evaluations the budget has been charged with, by the ledger."""
        late = sum(is_late(trial) for trial in counted)
        numbers = {trial.number for trial in counted}
        first = self._failed_first()
        least = 0
        most = late
        for claim, attempts in self._of_claim.items():
            if self._was_forgotten(claim) or self._claims.get(claim) in first:
                most += len(attempts)
                continue
            if self._claims.get(claim) in numbers:
                least, most = least + len(attempts) - self._forgotten_retries(attempts), most + len(attempts)
                continue
            # Of a lost trial all attempts but the last stay charged; if that one failed, its retry may be.
            has_failed = attempts[-1].ended is not None and attempts[-1].value is None
            least, most = least + len(attempts) - 1, most + len(attempts) - 1 + int(has_failed)
        return least, most

    def _forgotten_retries(self, attempts: Sequence[Evaluation]) -> int:
        return sum(
            any(
                lapse.may_have_taken_charge(before.ended or before.started, after.started)
                for lapse in self._lapses
            )
            for before, after in pairwise(attempts)
        )


def cause_of(trial: FrozenTrial) -> str | None:
    failure = trial.user_attrs.get("FAILURE")
    return None if failure is None else str(failure["cause"])


def host_of(trial: FrozenTrial) -> str:
    return str(trial.user_attrs["HOST"]["host"])


def is_late(trial: FrozenTrial) -> bool:
    return "LATE_OF" in trial.user_attrs


def is_duplicate(trial: FrozenTrial) -> bool:
    return "msg" in trial.user_attrs["HOST"]


def _began(trial: FrozenTrial) -> dt.datetime:
    assert trial.datetime_start is not None
    return trial.datetime_start


def _ended(trial: FrozenTrial) -> dt.datetime:
    assert trial.datetime_complete is not None
    return trial.datetime_complete


def _by_ledger(moment: dt.datetime) -> float:
    return now() - (time.time() - moment.timestamp())
