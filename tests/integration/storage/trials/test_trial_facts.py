"""The facts of a trial stand in columns, are counted as they happen, and never for another program."""

from __future__ import annotations

import functools
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import func, select

from tests.factories import CRASH, Member, at_once, join, kill, make_experiment, plain_optuna, statements
from tuned.domain.ending import Cause, Failure
from tuned.protocol.experiments import Counts
from tuned.storage.database import Database
from tuned.storage.queries import experiments
from tuned.storage.tables.schema import t_trial
from tuned.storage.trials.enqueued import fail_waiting
from tuned.storage.trials.settling import give_back, settle_orphans

SKIP = '[dedup]\non_running = "skip"'

NONE: Counts = {
    "complete": 0, "reused": 0, "failed": 0, "skipped": 0, "pruned": 0, "running": 0, "waiting": 0,
}  # fmt: skip


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment(SKIP))


def facts(member: Member) -> list[tuple[Any, ...]]:
    """Kind, origin, host, twin (counted from 0), cause and attempts of each trial, in their order."""
    of = t_trial.c
    columns = (of.trial_id, of.kind, of.origin, of.host, of.twin_id, of.cause, of.attempts)
    with member.database.reading() as connection:
        rows = connection.execute(select(*columns).order_by(of.trial_id)).all()
    first = rows[0].trial_id
    return [
        (kind, origin, host, None if twin is None else twin - first, *rest)
        for _, kind, origin, host, twin, *rest in rows
    ]


def counts(member: Member) -> Counts:
    [summary] = experiments.summaries(member.database, None)
    with member.database.reading() as connection:
        one_by_one = experiments._counts_one_by_one(connection, [member.status.study_id])
    assert one_by_one == {member.status.study_id: summary["counts"]}
    return summary["counts"]


def end_all_ways(member: Member) -> None:
    """Evaluated, failed at the second attempt, reused, skipped, lost, late, aborted, running."""
    member.evaluate(0, 0.5)
    member.tell(member.take(1), retried=(CRASH,))
    member.repeat(0)
    other = join(member.database, member.experiment, "h2")
    lost = other.take(2)
    member.repeat(2)
    kill(member.database, other.claimant)
    settle_orphans(member.database, lost.study_id)
    other.tell(lost, 0.25)
    aborted = member.take(3)
    give_back(
        member.database, aborted.study_id, aborted.claim_id, Failure(cause=Cause.ABORTED, message="disk full")
    )
    member.take(4)


def test_each_way_in_which_a_trial_comes_about_and_ends_has_its_columns(member: Member) -> None:
    end_all_ways(member)
    assert facts(member) == [
        ("evaluated", "sampler", "h1", None, None, 1),
        ("evaluated", "sampler", "h1", None, "exit", 2),
        ("reused", "sampler", "h1", 0, None, 1),
        ("evaluated", "sampler", "h2", None, "lost", 1),
        ("skipped", "sampler", "h1", 3, None, 1),
        ("late", "late", "h2", 3, None, 1),
        ("evaluated", "sampler", "h1", None, "aborted", 1),
        ("evaluated", "sampler", "h1", None, None, 1),
    ]


def test_trials_are_counted_as_they_end_without_a_look_at_each(member: Member) -> None:
    end_all_ways(member)
    expected: Counts = {**NONE, "complete": 2, "reused": 1, "failed": 3, "skipped": 1, "running": 1}
    assert counts(member) == expected
    with member.database.reading() as connection, statements(member.database) as seen:
        assert experiments._counts(connection, [member.status.study_id]) == {member.status.study_id: expected}
    assert len(seen) == 1


def test_what_another_program_did_before_and_afterwards_is_counted(database: Database) -> None:
    ended = [create_trial(state=state, value=v) for state, v in (
        (TrialState.COMPLETE, 1.0), (TrialState.FAIL, None), (TrialState.PRUNED, None),
    )]  # fmt: skip
    with plain_optuna(database) as study:
        study.add_trials(ended)
        member = join(database, make_experiment(SKIP))
        before: Counts = {**NONE, "complete": 1, "failed": 1, "pruned": 1}
        assert counts(member) == before
        with database.reading() as connection, statements(database) as seen:
            experiments._counts(connection, [member.status.study_id])
        assert len(seen) == 1
        claimed = member.take(0)
        study.tell(claimed.number, 0.5)
        study.add_trials(ended)
        study.ask()
        study.enqueue_trial({"x": 1})
        after: Counts = {**NONE, "complete": 3, "failed": 2, "pruned": 2, "running": 1, "waiting": 1}
        assert counts(member) == after
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(t_trial)).scalar_one() == 1


def test_an_enqueued_trial_that_is_no_point_is_refused_by_nobody_in_particular(member: Member) -> None:
    with plain_optuna(member.database) as study:
        study.enqueue_trial({"x": 99})
    [waiting] = member.now().waiting
    fail_waiting(member.database, waiting, "x is 99")
    fail_waiting(member.database, waiting, "x is 99")
    assert facts(member) == [("refused", "enqueued", None, None, "no-value", 1)]
    assert counts(member) == {**NONE, "failed": 1}


def test_hosts_that_tell_at_once_are_all_counted(database: Database) -> None:
    members = [join(database, make_experiment(), f"h{n}") for n in range(4)]
    claims = [member.take(n) for n, member in enumerate(members)]
    at_once(
        *(functools.partial(m.tell, c, 0.5) for m, c in zip(members[:3], claims[:3], strict=True)),
        functools.partial(members[3].tell, claims[3]),
    )
    assert counts(members[0]) == {**NONE, "complete": 3, "failed": 1}


def test_a_study_that_another_program_deletes_leaves_no_columns_to_the_trials_of_the_next(
    member: Member,
) -> None:
    member.evaluate(0, 0.5)
    with plain_optuna(member.database) as study:
        optuna.delete_study(study_name="exp", storage=study._storage)
    with plain_optuna(member.database) as study:
        study.add_trial(create_trial(value=1.0))
    again = join(member.database, member.experiment)
    again.evaluate(0, 0.5)
    assert counts(again) == {**NONE, "complete": 2}
    assert len(facts(again)) == 1
