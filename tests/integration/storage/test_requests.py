"""A request is taken once, by the incarnation that was asked, before it expires or is withdrawn."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from tests.factories import at_once, kill, make_claimant, statements
from tuned.domain.claim import Claimant
from tuned.domain.states import HostCommand
from tuned.errors import Conflict, NotFound
from tuned.storage import hosts, requests
from tuned.storage.database import Database
from tuned.storage.hosts import Beat
from tuned.storage.requests import Asked, Reply
from tuned.storage.tables.schema import t_request


@pytest.fixture
def beta(database: Database) -> Claimant:
    return make_claimant(database, "beta")


def ask(database: Database, command: HostCommand = HostCommand.DRAIN, *, seconds: float = 60) -> Asked:
    return requests.ask(database, "beta", command, user="ann", asked_on="alpha", seconds=seconds)


def beat(database: Database, claimant: Claimant) -> Beat:
    return hosts.beat(database, claimant.incarnation, hosts.HostInfo())


def test_a_beat_tells_of_a_request_until_it_is_taken(database: Database, beta: Claimant) -> None:
    alpha = make_claimant(database, "alpha")
    assert beat(database, beta) is Beat.WELL
    asked = ask(database)
    assert [beat(database, each) for each in (alpha, beta)] == [Beat.WELL, Beat.ASKED]
    [request] = requests.take(database, beta.incarnation)
    assert (request.command, request.user, request.asked_on) == ("drain", "ann", "alpha")
    assert (requests.take(database, beta.incarnation), beat(database, beta)) == ([], Beat.WELL)
    assert requests.look(database, asked) == Reply(is_seen=True)
    requests.answer(database, request.request_id, state="draining")
    assert requests.look(database, asked) == Reply(is_seen=True, state="draining")
    requests.forget(database, asked)
    with database.reading() as connection:
        assert connection.execute(select(t_request)).all() == []


def test_a_beat_of_a_host_that_nobody_asks_is_one_statement(database: Database, beta: Claimant) -> None:
    with statements(database) as seen:
        beat(database, beta)
    assert len([each for each in seen if "t_host" in each or "t_request" in each]) == 1


def test_a_later_incarnation_is_not_asked(database: Database, beta: Claimant) -> None:
    asked = ask(database)
    later = make_claimant(database, "beta")
    assert beat(database, later) is Beat.WELL
    assert requests.take(database, later.incarnation) == []
    assert requests.look(database, asked).is_gone
    assert later != beta


def test_a_request_that_has_expired_is_taken_by_nobody_and_goes(database: Database, beta: Claimant) -> None:
    asked = ask(database)
    with database.transaction() as connection:
        connection.execute(update(t_request).values(expires=1.0))
    assert requests.take(database, beta.incarnation) == []
    assert (beat(database, beta), requests.withdraw(database, asked)) == (Beat.WELL, True)


@pytest.mark.parametrize("_", range(5))
def test_of_a_taker_and_a_withdrawer_one_has_the_request(database: Database, beta: Claimant, _: int) -> None:
    asked = ask(database)
    taken, withdrawn = at_once(
        lambda: bool(requests.take(database, beta.incarnation)), lambda: requests.withdraw(database, asked)
    )
    assert taken != withdrawn


def test_a_host_that_is_dead_or_unknown_is_not_asked(database: Database, beta: Claimant) -> None:
    with pytest.raises(NotFound, match="cannot abort host gamma: there is none of this name"):
        requests.ask(database, "gamma", HostCommand.ABORT, user="ann", asked_on="alpha", seconds=60)
    kill(database, beta)
    with pytest.raises(Conflict, match="cannot drain host beta: it is dead or has stopped"):
        ask(database)


def test_a_request_whose_asker_has_died_goes_with_a_later_one(database: Database, beta: Claimant) -> None:
    ask(database)
    requests.take(database, beta.incarnation)
    with database.transaction() as connection:
        connection.execute(update(t_request).values(expires=1.0))
    later = ask(database)
    with database.reading() as connection:
        assert connection.execute(select(t_request.c.request_id)).scalars().all() == [later.request_id]
