"""The real transactions, on a database in memory that is set to any state before each of them.

Answers are kept by state and question, so each transaction runs once for each state of the tables. Each
single transaction is checked here too: it must not change a finished row, nor give a point that is not free.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Row, Table, event

from tests.factories import join
from tests.fleet.world import HostLine, PendingResult, PointRow, StudyRow, Tables, TrialRow
from tuned.domain.claim import Candidate, Claimant, Claimed, Duplicate, Origin, Outcome
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import Result, TellOutcome
from tuned.domain.states import POINT_TRANSITIONS, PointState
from tuned.domain.walk import Walk
from tuned.experiment.experiment import Budget, Experiment
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.studies import close_if_over, study_statuses
from tuned.storage.tables.schema import t_host, t_trial
from tuned.storage.trials import settling, sick
from tuned.storage.trials.claims import Claims
from tuned.storage.trials.settling import orphaned_studies, settle_claims, settle_orphans, settle_own
from tuned.storage.trials.tells import Receipt, tell

CRASH = Failure(cause=Cause.EXIT, message="exit status 1")
LOST = Failure(cause=Cause.LOST, message="its keeper died")


class Violation(AssertionError):
    """A state or a change that must never be."""

    #: The step in which it came about, if that is known.
    last: tuple[tuple[int | None, str], ...] = ()


class Given(NamedTuple):
    """A claim that was granted."""

    x: int


class Born(NamedTuple):
    """A host has joined: its new incarnation, and the claims that it has taken over."""

    incarnation: str
    adopted: frozenset[str]


class Answer(NamedTuple):
    tables: Tables
    value: Any


class _Paused(Exception):
    """The next transaction of this call is a step of its own."""


class SteppedDatabase(Database):
    """Ends a call before its second transaction, if only one is asked for."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.most_transactions: int | None = None
        #: Whether a call may ask for the hosts.
        self.has_hosts = True
        event.listen(self.engine, "before_cursor_execute", self._check_hosts)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self._count()
        with super().transaction() as connection:
            yield connection

    @contextmanager
    def locking(self, table: Table, study_id: int) -> Iterator[Connection]:
        self._count()
        with super().locking(table, study_id) as connection:
            yield connection

    def _check_hosts(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        assert self.has_hosts or t_host.name not in statement, f"it asks for the hosts: {statement}"

    @contextmanager
    def judging(self, study_id: int) -> Iterator[tuple[Connection, Row[Any]]]:
        self._count()
        with super().judging(study_id) as locked:
            yield locked

    def _count(self) -> None:
        if self.most_transactions is not None:
            if self.most_transactions == 0:
                raise _Paused
            self.most_transactions -= 1


class Store:
    """One study in one database, and what hosts ask of it."""

    def __init__(self, database: SteppedDatabase, experiment: Experiment) -> None:
        self._database = database
        self._experiment = experiment
        member = join(database, experiment)
        self._encoding, self._standing = member.encoding, member.status
        self._study_id, size = member.status.study_id, member.status.size
        assert size is not None
        self._walk = Walk(size, member.status.seed)
        raw = database.engine.raw_connection().driver_connection
        self._sqlite = cast("sqlite3.Connection", raw)
        self._points = {x: self._encoding.space.point({"x": x}) for x in range(size)}
        self._xs = {point.key: x for x, point in self._points.items()}
        self._answers: dict[tuple[Any, ...], Answer] = {}
        #: Whether it tells apart whose trials they are, and in which order they ended.
        self.has_sick = False
        self._sqlite.execute("DELETE FROM t_host")
        self.empty = self._now = self._dump()

    @property
    def budget(self) -> Budget:
        return self._experiment.budget

    @property
    def points(self) -> Collection[int]:
        return self._points.keys()

    @property
    def transactions(self) -> int:
        """How many were run."""
        return len(self._answers)

    # Questions of hosts

    def claim(self, tables: Tables, incarnation: str, claim: str, x: int | None, origin: str) -> Answer:
        def call() -> Any:
            claims = self._claims(incarnation)
            if x is None:
                return self._outcome(claims.claim_unvisited(claim))
            candidate = Candidate(point=self._points[x], origin=Origin(origin), claim_id=claim)
            return self._outcome(claims.claim(candidate))

        return self._ask(tables, ("claim", incarnation, claim, x, origin), call)

    def find(self, tables: Tables, incarnation: str, claim: str) -> Answer:
        def call() -> Any:
            found = self._claims(incarnation).find(claim, Origin.WALK)
            return None if found is None else self._outcome(found)

        return self._ask(tables, ("find", incarnation, claim), call)

    def next_freed(self, tables: Tables) -> Answer:
        def call() -> int | None:
            candidate = self._claims("").next_freed()
            return None if candidate is None else self._xs[candidate.point.key]

        return self._ask_of_study(tables, ("next freed",), call)

    def charge_retry(self, tables: Tables, claim: str, x: int, charged: int) -> Answer:
        claimed = self._claimed(claim, x)
        return self._ask(
            tables, ("retry", claim, charged), lambda: self._claims("").charge_retry(claimed, charged)
        )

    def tell(self, tables: Tables, host: int, pending: PendingResult, *, after: int, is_late: bool) -> Answer:
        """The outcome; None: the trial had ended, and what becomes of the value is the next transaction's."""

        # Only a numbered record is written down in its host's row.
        teller = f"h{host}" if pending.number or self.has_sick else "h"
        receipt = Receipt(record=pending.number, after=after) if pending.number else None

        def call() -> TellOutcome | None:
            # The first transaction of a late tell finds out again what it found out before.
            self._database.most_transactions = None if is_late else 1
            try:
                return tell(self._database, self._result(pending, teller), receipt)
            except _Paused:
                return None
            finally:
                self._database.most_transactions = None

        ask = self._ask_of_study if receipt is None else self._ask
        return ask(tables, ("tell", teller, pending, after, is_late), call)

    def register(self, tables: Tables, host: int, kept: frozenset[str] = frozenset()) -> Answer:
        name = f"h{host}"

        def call() -> Born:
            joined = hosts.register(self._database, name, name, hosts.HostInfo(), kept)
            assert joined is not None
            return Born(joined.incarnation, frozenset(each.claim_id for each in joined.adopted))

        return self._run(tables, ("register", host, kept), call)

    def beat(self, tables: Tables, incarnation: str) -> Answer:
        def call() -> bool:
            return bool(hosts.beat(self._database, incarnation, hosts.HostInfo()))

        return self._ask_of_hosts(tables, ("beat", incarnation), call)

    def mark_dead(self, tables: Tables, line: HostLine) -> Answer:
        def call() -> bool:
            return hosts.mark_dead(self._database, host_row(line))

        return self._ask_of_hosts(tables, ("mark", line), call)

    def settle_orphans(self, tables: Tables) -> Answer:
        """Both transactions at once: the second looks again, so what comes in between changes nothing."""

        def call() -> list[int]:
            return [n for s in orphaned_studies(self._database) for n in settle_orphans(self._database, s)]

        return self._ask(tables, ("settle orphans",), call)

    def settle_own(
        self, tables: Tables, incarnation: str, but_not: frozenset[str], ended: tuple[tuple[str, int], ...]
    ) -> Answer:
        def call() -> list[int]:
            known = dict(ended)
            return settle_own(self._database, self._study_id, incarnation, but_not=but_not, ended=known)

        return self._ask(tables, ("settle own", incarnation, but_not, ended), call)

    def claim_again(self, tables: Tables, incarnation: str, claim: str, x: int, attempts: int) -> Answer:
        def call() -> bool:
            claims = self._claims(incarnation)
            return claims.claim_again(self._claimed(claim, x), attempts=attempts) is not None

        return self._ask(tables, ("again", incarnation, claim, x, attempts), call)

    def settle_claims(self, tables: Tables, incarnation: str, claims: frozenset[str]) -> Answer:
        def call() -> list[int]:
            return settle_claims(self._database, self._study_id, incarnation, claims)

        return self._ask(tables, ("settle claims", incarnation, claims), call)

    def give_back(self, tables: Tables, claim: str) -> Answer:
        """``settling.give_back``, of a trial that is lost."""

        def call() -> None:
            settling._settle(self._database, self._study_id, LOST, t_trial.c.claim_id == claim)

        return self._ask(tables, ("give back", claim), call)

    def give_back_sick(self, tables: Tables) -> Answer:
        """Both transactions at once: the second looks again."""

        def call() -> list[int]:
            return sick.find_and_give_back(self._database, self._study_id)

        return self._ask_of_study(tables, ("sick",), call)

    def look(self, tables: Tables) -> Answer:
        """The study's state; closes it if it is over, which is looked at again under the study's lock."""

        def call() -> str:
            status = study_statuses(self._database, [self._study_id])[self._study_id]
            if status.is_over:
                close_if_over(self._database, self._study_id)
                status = study_statuses(self._database, [self._study_id])[self._study_id]
            return status.state.value

        return self._ask_of_study(tables, ("look",), call)

    # The database

    def _ask(self, tables: Tables, question: tuple[Any, ...], call: Callable[[], Any]) -> Answer:
        """A question whose answer may depend on who lives, but not on how often anybody has beaten."""
        still = tables._replace(hosts=tuple(line._replace(beat=0) for line in tables.hosts))
        answer = self._run(still, question, call)
        if answer.tables is still:
            return answer._replace(tables=tables)
        # A tell notes how far its host has told, and nothing else of the hosts.
        told = (line.told for line in answer.tables.hosts)
        hosts_now = tuple(line._replace(told=each) for line, each in zip(tables.hosts, told, strict=True))
        assert answer.tables.hosts == tuple(line._replace(beat=0) for line in hosts_now)
        return answer._replace(tables=answer.tables._replace(hosts=hosts_now))

    def _ask_of_hosts(self, tables: Tables, question: tuple[Any, ...], call: Callable[[], Any]) -> Answer:
        """A question that is about nothing but the hosts."""
        alone = self.empty._replace(hosts=tables.hosts)
        answer = self._run(alone, question, call)
        if answer.tables is alone:
            return answer._replace(tables=tables)
        return answer._replace(tables=tables._replace(hosts=answer.tables.hosts))

    def _ask_of_study(self, tables: Tables, question: tuple[Any, ...], call: Callable[[], Any]) -> Answer:
        """A question whose answer depends on no host."""
        alone = tables._replace(hosts=())
        self._database.has_hosts = False
        try:
            answer = self._run(alone, question, call)
        finally:
            self._database.has_hosts = True
        if answer.tables is alone:
            return answer._replace(tables=tables)
        return answer._replace(tables=answer.tables._replace(hosts=tables.hosts))

    def _run(self, tables: Tables, question: tuple[Any, ...], call: Callable[[], Any]) -> Answer:
        answer = self._answers.get((tables, question))
        if answer is None:
            self._load(tables)
            value = call()
            after = self._now = self._dump()
            check_change(tables, after, gives_back=self.has_sick and question[0] in ("sick", "look"))
            if question[0] == "claim":
                check_claim(tables, after)
            self._check_counts(after)
            if after.trials != tables.trials:
                self._check_facts()
            answer = self._answers[tables, question] = Answer(after, value)
        return answer._replace(tables=tables) if answer.tables == tables else answer

    def _claims(self, incarnation: str) -> Claims:
        return Claims(
            self._database,
            self._study_id,
            claimant=Claimant(host=self._name(incarnation), incarnation=incarnation),
            encoding=self._encoding,
            dedup=self._experiment.dedup,
            walk=self._walk,
            objectives=1,
        )

    def _name(self, incarnation: str) -> str:
        asked = "SELECT name FROM t_host WHERE incarnation = ?"
        row = self._sqlite.execute(asked, (incarnation,)).fetchone() if self.has_sick else None
        return "h" if row is None else str(row[0])

    def _outcome(self, outcome: Outcome) -> Any:
        match outcome:
            case Claimed():
                return Given(self._xs[outcome.point.key])
            case Duplicate():
                return outcome.action.value
            case _:
                return type(outcome).__name__.lower()

    def _claimed(self, claim: str, x: int) -> Claimed:
        candidate = Candidate(point=self._points[x], origin=Origin.WALK, claim_id=claim)
        return Claimed(
            study_id=self._study_id, trial_id=0, number=0, replica=0, incarnation="", candidate=candidate,
            claimed_at=0.0,
        )  # fmt: skip

    def _result(self, pending: PendingResult, teller: str) -> Result:
        return Result(
            study_id=self._study_id,
            study_uid=self._standing.uid,
            # Of the claim; nobody asks for them.
            trial_id=0,
            number=0,
            key=self._points[pending.x].key,
            host=teller,
            beginning=self._encoding.beginning(self._claimed(pending.claim, pending.x)),
            ending=Ending(
                values=(float(pending.x),) if pending.has_value else None,
                failure=None if pending.has_value or pending.is_pruned else CRASH,
                is_pruned=pending.is_pruned,
                retried=(CRASH,) * (pending.attempt - 1),
            ),
        )

    def _load(self, tables: Tables) -> None:
        if tables == self._now:
            return
        run, many, study, rows = self._sqlite.execute, self._sqlite.executemany, self._study_id, tables.trials
        run("BEGIN")
        for table in _EMPTIED:
            run(f"DELETE FROM {table}")
        ended = [sum(row.state == state for row in rows) for state in _ENDED]
        run(_STUDY, (*tables.study, *ended))
        many(
            _HOST, [(f"h{h.host}", f"h{h.host}", h.incarnation, h.beat, h.dead, h.told) for h in tables.hosts]
        )
        many(_POINT, [(study, self._points[p.x].key, *_point_columns(p)) for p in tables.points])
        many(_TRIAL, [(row.trial, row.trial - 1, study, row.state, _ended(row)) for row in rows])
        many(_FACTS, [_facts(row) for row in rows])
        many(_PARAM, [(row.trial, *self._param(row.x)) for row in rows])
        many(_VALUE, [(row.trial, row.value) for row in rows if row.value is not None])
        many(
            _ATTRIBUTE,
            [(row.trial, key, json.dumps(value)) for row in rows for key, value in _attributes(row).items()],
        )
        run("COMMIT")

    def _param(self, x: int) -> tuple[str, float, str]:
        [row] = self._encoding.rows(self._points[x])
        return row.param_name, row.param_value, row.distribution_json

    def _dump(self) -> Tables:
        run = self._sqlite.execute
        [study] = run(_STUDIES)
        lines = run("SELECT name, incarnation, beat, dead, told FROM t_host ORDER BY name")
        points = run("SELECT key, replica, trial_id, incarnation, state, losses FROM t_point")
        trials = tuple(_trial_row(*row) for row in run(_TRIALS))
        if self.has_sick:
            places = run(_PLACES).fetchall()
            trials = tuple(
                row._replace(host=int(name[1:] or -1), ended=place, went_well=went_well)
                for row, (name, place, went_well) in zip(trials, places, strict=True)
            )
        return Tables(
            StudyRow(*study),
            tuple(
                HostLine(int(name[1:]), claimant, beat, bool(dead), told)
                for name, claimant, beat, dead, told in lines
            ),
            tuple(sorted(PointRow(self._xs[key], *rest) for key, *rest in points)),
            trials,
        )

    def _check_counts(self, tables: Tables) -> None:
        [found] = self._sqlite.execute("SELECT complete + reused, failed + skipped, pruned FROM t_study")
        ended = [sum(row.state == state for row in tables.trials) for state in _ENDED]
        if [*found] != ended:
            raise Violation(f"the study counts {found} ended trials, and there are {ended}")

    def _check_facts(self) -> None:
        """Compares tuned's columns with Optuna's attributes."""
        if wrong := self._sqlite.execute(_WRONG_FACTS).fetchall():
            raise Violation(f"columns and attributes differ: {wrong}")


def host_row(line: HostLine) -> hosts.HostRow:
    return hosts.HostRow(
        name=f"h{line.host}", installation_id=f"h{line.host}", incarnation=line.incarnation, beat=line.beat,
        dead=line.dead,
    )  # fmt: skip


def claim_of(row: TrialRow) -> str:
    """The claim of a trial, also if no host refers to it."""
    return row.claim or f"?{row.trial}"


def check_change(before: Tables, after: Tables, *, gives_back: bool = False) -> None:
    """Refuses a change that no transaction may make."""
    now = {row.trial: row for row in after.trials}
    for row in before.trials:
        was_given = gives_back and row.went_well is not None and row.cause != "host"
        if was_given and now.get(row.trial) == row._replace(cause="host", is_charged=False):
            continue
        if row.state != "RUNNING" and now.get(row.trial) != row:
            raise Violation(f"a finished row changed: {row} became {now.get(row.trial)}")
    started = now.keys() - {row.trial for row in before.trials}
    living = {line.incarnation for line in before.hosts if not line.dead}
    done = {row.x for row in before.trials if row.value is not None}
    for point in after.points:
        if point.state == PointState.HELD and point.trial in started:
            if point.x in done:
                raise Violation(f"point {point.x} is evaluated again, though it has a value")
            if point.incarnation not in living:
                raise Violation(f"point {point.x} is given to an incarnation that is dead or replaced")
    states = {point.x: PointState(point.state) for point in after.points if point.replica == 0}
    for point in before.points:
        was = PointState(point.state)
        if point.replica == 0 and states.get(point.x) not in {was, *POINT_TRANSITIONS[was]}:
            raise Violation(f"point {point.x} went from {was} to {states.get(point.x)}")


def check_claim(before: Tables, after: Tables) -> None:
    """Refuses a claim after the commit that ended the search."""
    if before.study.has_ended and len(after.trials) > len(before.trials):
        raise Violation("a point is given after the commit that ended the search")


#: In the order in which the study counts them.
_ENDED = ("COMPLETE", "FAIL", "PRUNED")

_EMPTIED = (
    "trial_system_attributes", "trial_user_attributes", "trial_intermediate_values", "trial_values",
    "trial_params", "t_point", "t_trial", "trials", "t_host",
)  # fmt: skip
_STUDY = """
UPDATE t_study SET state = ?, trials = ?, evaluations = ?, visited = ?, cursor = ?,
  ended_by = CASE WHEN ? THEN 'it is over' END, front = nullif(?, ''), stalled = ?,
  complete = ?, failed = ?, pruned = ?, reused = 0, skipped = 0, alike = 0, last_failure = NULL
"""
_HOST = "INSERT INTO t_host (name, installation_id, incarnation, beat, dead, told) VALUES (?, ?, ?, ?, ?, ?)"
_POINT = """
INSERT INTO t_point (study_id, key, replica, trial_id, incarnation, state, losses)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_TRIAL = """
INSERT INTO trials (trial_id, number, study_id, state, datetime_complete) VALUES (?, ?, ?, ?, ?)
"""
_FACTS = """
INSERT INTO t_trial
  (trial_id, kind, twin_id, cause, attempts, claim_id, is_charged, evaluations, host, went_well, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'walk')
"""
_PARAM = """
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)
"""
_VALUE = "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, 'FINITE')"
_ATTRIBUTE = "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)"
_STUDIES = """
SELECT state, trials, evaluations, visited, cursor, ended_by IS NOT NULL, coalesce(front, ''), stalled
FROM t_study
"""
_TRIALS = """
SELECT trial_id, state, CAST(param_value AS INTEGER), value, coalesce(cause, ''), kind = 'late', attempts - 1,
  coalesce(claim_id, ''), is_charged, CASE WHEN state = 'RUNNING' THEN evaluations ELSE 1 END
FROM trials JOIN trial_params USING (trial_id) JOIN t_trial USING (trial_id)
  LEFT JOIN trial_values USING (trial_id) ORDER BY trial_id
"""
_PLACES = """
SELECT host, CASE WHEN datetime_complete IS NULL THEN 0 ELSE
  (SELECT count(DISTINCT o.datetime_complete) FROM trials o
    WHERE o.datetime_complete <= t.datetime_complete) END, went_well
FROM trials t JOIN t_trial USING (trial_id) ORDER BY trial_id
"""
_WRONG_FACTS = """
SELECT * FROM (
  SELECT t.trial_id, cause, kind, attempts,
    (SELECT json_extract(value_json, '$.cause') FROM trial_user_attributes a
      WHERE a.trial_id = t.trial_id AND key = 'FAILURE') AS told_cause,
    EXISTS (SELECT 1 FROM trial_user_attributes a
      WHERE a.trial_id = t.trial_id AND key = 'LATE_OF') AS is_late,
    coalesce((SELECT json_array_length(value_json) FROM trial_user_attributes a
      WHERE a.trial_id = t.trial_id AND key = 'RETRIED'), 0) AS retried
  FROM trials t LEFT JOIN t_trial USING (trial_id)
) WHERE kind IS NULL OR cause IS NOT told_cause OR (kind = 'late') <> is_late OR attempts <> 1 + retried
"""


def _point_columns(point: PointRow) -> tuple[Any, ...]:
    return point.replica, point.trial, point.incarnation, point.state, point.losses


def _trial_row(trial: int, state: str, x: int, value: float | None, *rest: Any) -> TrialRow:
    cause, is_late, retried, claim, is_charged, charged = rest
    known = "" if claim.startswith("?") else claim
    return TrialRow(trial, state, x, value, cause, bool(is_late), retried, known, bool(is_charged), charged)


def _facts(row: TrialRow) -> tuple[Any, ...]:
    kind, twin = ("late", 0) if row.is_late else ("evaluated", None)
    name = "h" if row.host < 0 else f"h{row.host}"
    known = (
        row.cause or None,
        1 + row.retried,
        claim_of(row),
        row.is_charged,
        row.charged,
        name,
        row.went_well,
    )
    return row.trial, kind, twin, *known


def _ended(row: TrialRow) -> str | None:
    return f"2000-01-01 00:00:{row.ended:02d}.000000" if row.ended else None


def _attributes(row: TrialRow) -> dict[str, Any]:
    attributes: dict[str, Any] = {"HOST": {"host": "h"}}
    if row.cause:
        attributes["FAILURE"] = {"cause": row.cause}
    if row.is_late:
        attributes["LATE_OF"] = 0
    if row.retried:
        attributes["RETRIED"] = [{}] * row.retried
    return attributes
