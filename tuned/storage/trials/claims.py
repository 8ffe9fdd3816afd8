"""CLAIM: one transaction that gives a point to a host, charges the budget and writes the trial.

The transaction holds the lock on the study's row. If several hosts draw the same point, one of them claims
it. The others learn in the same round trip which host has it, and apply ``[dedup]``. This module must never
draw a point or start a process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from sqlalchemy import Connection, Row, bindparam, func, select, update

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
    TrialKind,
    Twin,
)
from tuned.domain.states import PointState
from tuned.errors import NotFound
from tuned.storage.database import Database
from tuned.storage.tables import statements
from tuned.storage.tables.schema import studies, t_point, t_study, t_trial, trials
from tuned.storage.tables.transitions import move_point
from tuned.storage.trials import astray, constraints, trial_facts, trial_rows
from tuned.storage.trials.budget import Allowance, charge, charge_again, charge_retry

if TYPE_CHECKING:
    from tuned.domain.space import Point
    from tuned.domain.walk import Walk
    from tuned.experiment.experiment import Dedup
    from tuned.storage.encoding import Encoding

#: How many places of the walk one statement checks.
WALK_STRIDE = 256

#: How many free points are looked at for one that can be evaluated again. Usually the first can.
FREED_STRIDE = 100

_HOLD_AGAIN = (
    move_point(PointState.HELD)
    .where(*(t_point.c[name] == bindparam(f"of_{name}") for name in ("study_id", "key", "replica")))
    .values({name: bindparam(name) for name in ("trial_id", "incarnation")})
)


class _Refused(Exception):
    """Rolls the transaction back."""


class Claims:
    """The claims of one host in one study."""

    def __init__(
        self,
        database: Database,
        study_id: int,
        *,
        claimant: Claimant,
        encoding: Encoding,
        dedup: Dedup,
        walk: Walk | None,
        objectives: int,
    ) -> None:
        self._database = database
        self._study_id = study_id
        self._claimant = claimant
        self._encoding = encoding
        self._dedup = dedup
        self._walk = walk
        self._objectives = objectives

    def claim(self, candidate: Candidate) -> Outcome:
        """Claims the candidate's point, or returns the trial that has it. Raises DatabaseAway."""
        try:
            with self._database.locking(studies, self._study_id) as connection:
                given = self._charge(connection, candidate, replica=0)
                if given is not None:
                    return self._take(connection, candidate, given, replica=0)
                twin = self._twin(connection, candidate.point.key)
                if twin is None:
                    # Its trial may have been deleted: then the point is free now.
                    given = self._must_charge(connection, candidate, replica=0)
                    return self._take(connection, candidate, given, replica=0)
                if twin.state is PointState.FREE:
                    return Closed()
                return self._duplicate(connection, candidate, twin)
        except (_Refused, NotFound):
            return Closed()

    def claim_unvisited(self, claim_id: str, revision: int = 1) -> Outcome:
        """Claims the next free point of the walk, which only a finite space has. Raises DatabaseAway."""
        try:
            with self._database.locking(studies, self._study_id) as connection:
                point = self._next_of_walk(connection)
                if point is None:
                    return Idle()
                candidate = Candidate(point=point, origin=Origin.WALK, claim_id=claim_id, revision=revision)
                given = self._must_charge(connection, candidate, replica=0)
                return self._take(connection, candidate, given, replica=0)
        except (_Refused, NotFound):
            return Closed()

    def find(self, claim_id: str, origin: Origin) -> Claimed | None:
        """Finds a claim whose commit had an unknown outcome; None if it was not committed."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(t_point, trials.c.number, t_trial.c.revision)
                .join(trials, trials.c.trial_id == t_point.c.trial_id)
                .join(t_trial, t_trial.c.trial_id == t_point.c.trial_id)
                .where(
                    t_trial.c.claim_id == claim_id,
                    t_point.c.state == PointState.HELD,
                    t_point.c.incarnation == self._claimant.incarnation,
                )
            ).first()
            point = (
                None
                if row is None
                else astray.stored_point(connection, self._encoding, row.trial_id, row.key)
            )
        if row is None or point is None:
            return None
        return Claimed(
            study_id=self._study_id,
            trial_id=row.trial_id,
            number=row.number,
            replica=row.replica,
            candidate=Candidate(point=point, origin=origin, claim_id=claim_id, revision=row.revision),
            incarnation=self._claimant.incarnation,
        )

    def next_freed(self) -> Candidate | None:
        """A point that was aborted or lost. The host evaluates it before it draws a new one."""
        with self._database.reading() as connection:
            found = connection.execute(
                select(t_point.c.trial_id, t_point.c.key)
                .where(t_point.c.study_id == self._study_id, t_point.c.state == PointState.FREE)
                .order_by(t_point.c.trial_id)
                .limit(FREED_STRIDE)
            ).all()
            for row in found:
                point = astray.stored_point(connection, self._encoding, row.trial_id, row.key)
                if point is not None:
                    return Candidate(point=point, origin=Origin.FREED)
        if found:
            astray.forget_free(self._database, self._study_id, [row.key for row in found])
        return None

    def claim_again(self, claimed: Claimed, *, attempts: int) -> Claimed | None:
        """Writes the trial of a claim again, which runs here, if the database has forgotten it.

        Returns the claim with the trial that it has now; None if another claim has the point, or if the
        budget or the study's state allows no trial. Raises DatabaseAway.
        """
        candidate = claimed.candidate
        try:
            with self._database.locking(studies, self._study_id) as connection:
                if (known := self._known(connection, claimed.claim_id)) is not None:
                    return replace(claimed, trial_id=known.trial_id, number=known.number)
                # Frees the point if its trial was deleted.
                self._twin(connection, candidate.point.key)
                replica = self._next_replica(connection, candidate.point.key) if claimed.replica else 0
                given = charge_again(
                    connection,
                    self._study_id,
                    key=candidate.point.key,
                    replica=replica,
                    attempts=attempts,
                    incarnation=self._claimant.incarnation,
                )
                if given is None:
                    return None
                again = self._take(connection, candidate, given, replica=replica)
                statements.run(connection, trial_facts.charged(again.trial_id, attempts))
                return replace(again, claimed_at=claimed.claimed_at)
        except (_Refused, NotFound):
            return None

    def charge_retry(self, claimed: Claimed, charged: int) -> bool:
        """Charges one more evaluation to a trial of this host, to which so many are charged.

        Returns False if the budget is full or the trial has ended.
        """
        return charge_retry(self._database, self._study_id, claimed.claim_id, charged)

    def _known(self, connection: Connection, claim_id: str) -> Row[Any, Any] | None:
        """The trial of a claim."""
        return connection.execute(
            select(trials.c.trial_id, trials.c.number)
            .join(t_trial, t_trial.c.trial_id == trials.c.trial_id)
            .where(t_trial.c.claim_id == claim_id)
        ).first()

    def _forget(self, connection: Connection, key: str, *, visits: int) -> None:
        of_point = (t_point.c.key == key) & (t_point.c.replica == 0)
        astray.forget(connection, self._study_id, of_point, visits=visits)

    def _twin(self, connection: Connection, key: str) -> Twin | None:
        """The trial that has a point. If a person deleted that, its point is forgotten, and it is None."""
        row = connection.execute(
            select(t_point.c.trial_id, t_point.c.state, trials.c.number, t_trial.c.host)
            .join(trials, trials.c.trial_id == t_point.c.trial_id, isouter=True)
            .join(t_trial, t_trial.c.trial_id == t_point.c.trial_id, isouter=True)
            .where(t_point.c.study_id == self._study_id, t_point.c.key == key, t_point.c.replica == 0)
        ).first()
        if row is None:
            return None
        state = PointState(row.state)
        if row.number is None:
            self._forget(connection, key, visits=int(state.is_visited))
            return None
        return Twin(trial_id=row.trial_id, number=row.number, host=row.host, state=state)

    def _charge(
        self,
        connection: Connection,
        candidate: Candidate,
        *,
        replica: int,
        kind: TrialKind = TrialKind.EVALUATED,
    ) -> Allowance | None:
        return charge(
            connection,
            self._study_id,
            key=candidate.point.key,
            replica=replica,
            kind=kind,
            incarnation=self._claimant.incarnation,
        )

    def _must_charge(
        self,
        connection: Connection,
        candidate: Candidate,
        *,
        replica: int,
        kind: TrialKind = TrialKind.EVALUATED,
    ) -> Allowance:
        """As ``_charge``, but raises _Refused instead of returning None."""
        given = self._charge(connection, candidate, replica=replica, kind=kind)
        if given is None:
            raise _Refused
        return given

    def _take(
        self, connection: Connection, candidate: Candidate, given: Allowance, *, replica: int
    ) -> Claimed:
        trial_id, number, begun = self._begin(connection, candidate, given, TrialState.RUNNING)
        place = {"study_id": self._study_id, "key": candidate.point.key, "replica": replica}
        held = {"trial_id": trial_id, "incarnation": self._claimant.incarnation}
        if given.is_known:
            of_place = {f"of_{name}": value for name, value in place.items()}
            hold: statements.Statement | None = statements.Statement(_HOLD_AGAIN, {**of_place, **held})
        else:
            hold = statements.insertion(t_point, [{**place, **held, "state": PointState.HELD}])
        details = self._details(connection, trial_id, candidate, {"host": self._claimant.host})
        facts = self._facts(trial_id, candidate, TrialKind.EVALUATED)
        statements.run(connection, begun, hold, facts, *details)
        return Claimed(
            study_id=self._study_id,
            trial_id=trial_id,
            number=number,
            replica=replica,
            candidate=candidate,
            incarnation=self._claimant.incarnation,
        )

    def _begin(
        self, connection: Connection, candidate: Candidate, given: Allowance, state: TrialState
    ) -> tuple[int, int, statements.Statement | None]:
        """The id and the number of the candidate's trial, and the statement that creates it, if any."""
        if candidate.waiting_trial is None:
            row = trial_rows.trial(self._study_id, given.trial_id, given.number, state)
            return given.trial_id, given.number, row
        number = trial_rows.start_waiting(connection, candidate.waiting_trial, state)
        if number is None:
            # Another host started it first.
            raise _Refused
        return candidate.waiting_trial, number, None

    def _details(
        self, connection: Connection, trial_id: int, candidate: Candidate, host: dict[str, Any]
    ) -> tuple[statements.Statement | None, ...]:
        user, system = {"HOST": host}, candidate.attributes
        if candidate.waiting_trial is not None:
            # The program that enqueued it may have written some of this already.
            trial_rows.delete_details(connection, trial_id, user_keys=user, system_keys=system)
        return (
            trial_rows.params(trial_id, self._encoding.rows(candidate.point)),
            trial_rows.user_attributes(trial_id, user),
            trial_rows.system_attributes(trial_id, system),
        )

    def _facts(
        self, trial_id: int, candidate: Candidate, kind: TrialKind, *, twin_id: int | None = None
    ) -> statements.Statement | None:
        return trial_facts.written(
            trial_id,
            kind,
            origin=candidate.origin,
            host=self._claimant.host,
            claim_id=candidate.claim_id if kind is TrialKind.EVALUATED else None,
            twin_id=twin_id,
            revision=candidate.revision if kind is TrialKind.EVALUATED else None,
        )

    def _duplicate(self, connection: Connection, candidate: Candidate, twin: Twin) -> Outcome:
        action = self._policy(candidate, twin)
        if action is None:
            replica = self._next_replica(connection, candidate.point.key)
            given = self._must_charge(connection, candidate, replica=replica)
            return self._take(connection, candidate, given, replica=replica)
        if action in (Action.RESAMPLE, Action.WAIT):
            return Duplicate(twin=twin, action=action, candidate=candidate)
        reuses = action is Action.REUSE
        values = self._values(connection, twin) if reuses else ()
        if values is None:
            self._forget(connection, candidate.point.key, visits=1)
            given = self._must_charge(connection, candidate, replica=0)
            return self._take(connection, candidate, given, replica=0)
        replica = self._next_replica(connection, candidate.point.key)
        kind = TrialKind.REUSED if reuses else TrialKind.SKIPPED
        given = self._must_charge(connection, candidate, replica=replica, kind=kind)
        state = TrialState.COMPLETE if reuses else TrialState.FAIL
        trial_id, number, begun = self._begin(connection, candidate, given, state)
        attribute = {
            "host": self._claimant.host,
            "msg": "COMPLETE" if reuses else "RUNNING",
            "number": twin.number,
            "HOST_s": twin.host,
        }
        details = self._details(connection, trial_id, candidate, attribute)
        facts = self._facts(trial_id, candidate, kind, twin_id=twin.trial_id)
        copied = constraints.copied(trial_id, twin.trial_id) if reuses else None
        statements.run(connection, begun, facts, *details, trial_rows.values(trial_id, values), copied)
        return Duplicate(twin=twin, action=action, candidate=candidate, number=number, values=values or None)

    def _values(self, connection: Connection, twin: Twin) -> tuple[float, ...] | None:
        """The values to reuse; None if a person deleted some of them."""
        values = trial_rows.read_values(connection, twin.trial_id)
        return values if len(values) == self._objectives else None

    def _policy(self, candidate: Candidate, twin: Twin) -> Action | None:
        """The action that ``[dedup]`` sets for this twin; None to evaluate the point again."""
        if twin.state in (PointState.FAILED, PointState.PRUNED):
            policy = Action.RESAMPLE.value
        elif twin.state is PointState.DONE:
            policy = self._dedup.on_complete
        else:
            policy = self._dedup.on_running
        if candidate.waiting_trial is not None and policy not in ("evaluate", "wait"):
            # The trial exists already, so it must end.
            return Action.REUSE if twin.state is PointState.DONE else Action.SKIP
        if candidate.is_ahead or candidate.origin not in (Origin.SAMPLER, Origin.ENQUEUED):
            # Nobody drew it by accident, and another trial already takes care of it.
            return Action.RESAMPLE
        return None if policy == "evaluate" else Action(policy)

    def _next_replica(self, connection: Connection, key: str) -> int:
        last = select(func.max(t_point.c.replica)).where(
            t_point.c.study_id == self._study_id, t_point.c.key == key
        )
        found: int | None = connection.execute(last).scalar()
        return 0 if found is None else found + 1

    def _next_of_walk(self, connection: Connection) -> Point | None:
        walk = self._walk
        assert walk is not None
        mine = t_study.c.study_id == self._study_id
        place: int = connection.execute(select(t_study.c.cursor).where(mine)).scalar_one()
        while place < walk.size:
            stride = range(place, min(place + WALK_STRIDE, walk.size))
            points = [self._encoding.space.at(walk[p]) for p in stride]
            taken = set(
                connection.execute(
                    select(t_point.c.key).where(
                        t_point.c.study_id == self._study_id, t_point.c.key.in_([p.key for p in points])
                    )
                ).scalars()
            )
            ahead = next((n for n, point in enumerate(points) if point.key not in taken), len(points))
            place += ahead
            connection.execute(update(t_study).where(mine).values(cursor=place))
            if ahead < len(points):
                return points[ahead]
        return None
