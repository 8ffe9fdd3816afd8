"""Trials that a new incarnation takes over, because they outlived its last one; and those that it leaves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from optuna.trial import TrialState
from sqlalchemy import Connection

from tests.factories import (
    Member,
    at_once,
    join,
    kill,
    make_claimant,
    make_experiment,
    opened,
    plain_optuna,
    statements,
)
from tests.fleet.hosts import query
from tests.integration.storage.steps import AGAIN, charged, states
from tests.waiting import until
from tuned.domain.claim import Claimed
from tuned.domain.result import TellOutcome
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.trials import trial_rows
from tuned.storage.trials.adoption import Adopted
from tuned.storage.trials.remembered import remembered
from tuned.storage.trials.settling import orphaned_studies, settle_orphans, settle_own
from tuned.storage.trials.tells import Receipt, tell


@pytest.fixture
def member(database: Database) -> Member:
    return join(database, make_experiment())


def join_again(
    member: Member, *kept: Claimed, database: Database | None = None, name: str = "h1"
) -> hosts.Joined:
    """As the next daemon of its installation, which still has these trials."""
    claims = [claimed.claim_id for claimed in kept]
    joined = hosts.register(database or member.database, name, "h1", hosts.HostInfo(), claims)
    assert joined is not None
    return joined


def numbers(joined: hosts.Joined) -> list[int]:
    return [adopted.number for adopted in joined.adopted if adopted.number is not None]


def adopt(member: Member, *kept: Claimed) -> list[int]:
    return numbers(join_again(member, *kept))


def settle(member: Member, database: Database | None = None) -> list[int]:
    return settle_orphans(database or member.database, member.status.study_id)


def test_kept_trials_are_taken_over_and_all_others_are_orphans(member: Member) -> None:
    kept, lost = member.take(1), member.take(2)
    joined = join_again(member, kept)
    assert joined.adopted == (Adopted(claim_id=kept.claim_id, trial_id=kept.trial_id, number=kept.number),)
    assert settle(member) == [lost.number]
    assert (states(member), charged(member)) == ([TrialState.RUNNING, TrialState.FAIL], (1, 1, 0))
    assert member.tell(kept, 0.5) is TellOutcome.TOLD
    assert member.tell(kept, 0.5) is TellOutcome.KNOWN
    assert (charged(member), member.now().held) == ((1, 1, 1), 0)


def test_a_trial_outlives_any_number_of_daemons(member: Member) -> None:
    kept = member.take(1)
    # The answer of the first was lost, or its daemon died at once.
    adopted = [adopt(member, kept) for _ in range(3)]
    assert adopted == [[kept.number]] * 3
    assert orphaned_studies(member.database) == []


def test_trials_of_several_studies_are_taken_over_at_once(member: Member) -> None:
    other = join(member.database, make_experiment(name="other"), claimant=member.claimant)
    first, second = member.take(1), other.take(1)
    joined = join_again(member, second, first)
    assert [adopted.claim_id for adopted in joined.adopted] == [first.claim_id, second.claim_id]
    claimant = hosts.hosts(member.database)[0].incarnation
    assert claimant == joined.incarnation
    assert orphaned_studies(member.database) == []


def test_a_repetition_is_taken_over_alone(database: Database) -> None:
    member = join(database, make_experiment(AGAIN))
    first, repetition = member.take(5), member.take(5)
    assert adopt(member, repetition) == [repetition.number]
    assert settle(member) == [first.number]


def test_a_host_that_is_found_dead_keeps_the_trials_that_nobody_has_settled(member: Member) -> None:
    settled, kept = member.take(1), member.take(2)
    kill(member.database, member.claimant)
    settle_own(member.database, member.status.study_id, member.claimant.incarnation, but_not=[kept.claim_id])
    assert adopt(member, settled, kept) == [kept.number]
    assert member.tell(settled, 0.5) is TellOutcome.LATE


def test_a_trial_whose_point_another_host_has_by_now_is_not_taken_over(member: Member) -> None:
    claimed = member.take(1)
    kill(member.database, member.claimant)
    settle(member)
    other = join(member.database, member.experiment, "h2")
    again = other.take(1)
    assert adopt(member, claimed, again) == []
    assert remembered(member.database, other.claimant).claims == {again.claim_id: again.study_id}


def end(member: Member, claimed: Claimed) -> None:
    member.tell(claimed, 0.5)


def end_elsewhere(member: Member, claimed: Claimed) -> None:
    with plain_optuna(member.database) as study:
        study.tell(claimed.number, 0.5)


def test_a_claim_that_the_database_has_forgotten_stays_with_its_host(member: Member) -> None:
    forgotten, kept = member.take(1), member.take(2)
    member.delete_trial(forgotten.number)
    joined = join_again(member, forgotten, kept)
    assert joined.adopted == (
        Adopted(claim_id=forgotten.claim_id, trial_id=None, number=None),
        Adopted(claim_id=kept.claim_id, trial_id=kept.trial_id, number=kept.number),
    )


@pytest.mark.parametrize("end", [end, end_elsewhere])
def test_a_trial_that_has_ended_is_not_taken_over(
    member: Member, end: Callable[[Member, Claimed], None]
) -> None:
    ended, kept = member.take(1), member.take(2)
    end(member, ended)
    assert adopt(member, ended, kept) == [kept.number]


def test_an_installation_takes_its_trials_along_to_another_name(member: Member) -> None:
    kept = member.take(1)
    assert hosts.register(member.database, "h2", "h1", hosts.HostInfo(), [kept.claim_id]) is None
    assert remembered(member.database, member.claimant).claims == {kept.claim_id: kept.study_id}
    kill(member.database, member.claimant)
    assert numbers(join_again(member, kept, name="h2")) == [kept.number]


def test_the_trials_of_another_installation_are_orphans_for_the_next_of_its_name(member: Member) -> None:
    claimed = member.take(1)
    kill(member.database, member.claimant)
    joined = hosts.register(member.database, "h1", "two", hosts.HostInfo(), [claimed.claim_id])
    assert joined is not None
    assert joined.adopted == ()
    assert settle(member) == [claimed.number]


def test_to_take_over_costs_four_statements_however_many_trials_there_are(member: Member) -> None:
    kept = [member.take(x) for x in range(9)]
    with statements(member.database) as some:
        assert len(join_again(member, *kept).adopted) == 9
    with statements(member.database) as none:
        join_again(member)
    assert len(some) == len(none) + 4


def test_of_a_settlement_and_a_takeover_at_once_one_gets_the_trial(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        member = join(first, make_experiment())
        for x in range(5):
            claimant = make_claimant(first)
            claimed = join(first, member.experiment, claimant=claimant).take(x)
            kill(first, claimant)
            settled, adopted = at_once(
                functools.partial(settle, member, second), functools.partial(adopt, member, claimed)
            )
            assert [*settled, *adopted] == [claimed.number]
            outcome = TellOutcome.TOLD if adopted else TellOutcome.LATE
            assert member.tell(claimed, 0.5) is outcome


def test_a_takeover_waits_for_a_settlement_that_has_chosen_its_trial(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = trial_rows.finish_trials
    joining: list[Future[hosts.Joined]] = []

    def is_decided() -> bool:
        waits = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return joining[0].done() or query(postgresql_url, waits) != []

    def join_and_finish(connection: Connection, ids: list[int], state: TrialState) -> list[int]:
        joining.append(threads.submit(join_again, member, claimed))
        until(is_decided, what="the takeover waits or is over")
        return finish(connection, ids, state)

    with opened(postgresql_url) as database, ThreadPoolExecutor(1) as threads:
        member = join(database, make_experiment())
        claimed = member.take(1)
        kill(database, member.claimant)
        monkeypatch.setattr(trial_rows, "finish_trials", join_and_finish)
        assert settle(member) == [claimed.number]
        assert joining[0].result(20).adopted == ()


def test_of_a_tell_and_a_takeover_at_once_the_tell_ends_the_trial(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        member = join(first, make_experiment())
        for x in range(5):
            claimed = join(first, member.experiment, claimant=make_claimant(first)).take(x)
            # Both lock rows of the study and of the host.
            receipt = Receipt(record=x + 1, after=x)
            told, _ = at_once(
                functools.partial(tell, second, member.result(claimed, 0.5), receipt),
                functools.partial(join_again, member, claimed),
            )
            assert told is TellOutcome.TOLD
            assert (member.now().held, member.tell(claimed, 0.5)) == (0, TellOutcome.KNOWN)
