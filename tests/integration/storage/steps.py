"""Steps that several of these tests take, and what they look at afterwards."""

from __future__ import annotations

from collections import Counter

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from tests.factories import Member, join, kill, plain_optuna
from tuned.domain.claim import Claimed, Outcome, new_claim_id
from tuned.domain.states import PointState
from tuned.domain.study_status import StudyStatus
from tuned.experiment.experiment import Experiment
from tuned.storage.database import Database
from tuned.storage.encoding import Encoding
from tuned.storage.studies import open_study
from tuned.storage.tables.schema import t_point, t_trial
from tuned.storage.trials.settling import settle_orphans, settle_own


def open_it(database: Database, experiment: Experiment, *, is_new: bool = True) -> StudyStatus:
    return open_study(database, experiment, Encoding(experiment.space), is_new=is_new)


def delete_by_optuna(database: Database, name: str = "exp") -> None:
    with plain_optuna(database, name=name) as study:
        optuna.delete_study(study_name=name, storage=study._storage)


def keys(member: Member) -> set[str]:
    with member.database.reading() as connection:
        return set(connection.execute(select(t_point.c.key)).scalars())


def origins(member: Member) -> list[str]:
    """Of each trial of ours, in their order."""
    with member.database.reading() as connection:
        return list(connection.execute(select(t_trial.c.origin).order_by(t_trial.c.trial_id)).scalars())


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


def walk(member: Member) -> Outcome:
    return member.claims.claim_unvisited(new_claim_id())


AGAIN = '[dedup]\non_complete = "evaluate"\non_running = "evaluate"'


def abort(member: Member, *but_not: Claimed) -> list[int]:
    ids = [claimed.claim_id for claimed in but_not]
    return settle_own(member.database, member.status.study_id, member.claimant.incarnation, but_not=ids)


def lose(member: Member, x: int) -> Claimed:
    """A claim of a host that dies with it."""
    host = join(member.database, member.experiment, "dying")
    claimed = host.take(x)
    kill(member.database, host.claimant)
    assert settle_orphans(member.database, member.status.study_id) == [claimed.number]
    return claimed


def states(member: Member) -> list[TrialState]:
    return [trial.state for trial in member.trials()]


def charged(member: Member) -> tuple[int, int, int]:
    now = member.now()
    return now.trials, now.evaluations, now.visited


def point_states(member: Member) -> Counter[tuple[PointState, bool]]:
    """By state, and whether it is a repetition."""
    with member.database.reading() as connection:
        rows = connection.execute(select(t_point.c.state, t_point.c.replica)).all()
    return Counter((PointState(row.state), row.replica > 0) for row in rows)
