"""One host among others, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from optuna.trial import TrialState
from structlog.testing import capture_logs

from tests.factories import join, kill, linked, make_experiment, opened
from tests.fleet.hosts import query
from tests.forgetting import forgotten
from tests.postgres import PostgresServer
from tests.waiting import until_async
from tuned.daemon.fleet import Fleet
from tuned.domain.claim import Claimant
from tuned.domain.states import HostState
from tuned.errors import Conflict
from tuned.storage import hosts
from tuned.storage.database import Database
from tuned.storage.link import Link

#: So short that an expiry is soon, and so long that a busy machine makes no gap of beats.
INTERVAL, EXPIRE = 0.4, 1.0
NEVER = 600.0


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


def host(
    link: Link,
    name: str = "h1",
    installation_id: str = "one",
    *,
    interval: float = INTERVAL,
    expire: float = NEVER,
) -> Fleet:
    return Fleet(
        link, host=name, installation_id=installation_id, interval_seconds=interval, expire_seconds=expire,
        describe=lambda: hosts.HostInfo(slots=2),
    )  # fmt: skip


def break_updates(url: str, table: str, when: str = "") -> None:
    """Makes the server refuse them with an error that is not its own."""
    query(
        url,
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '22012'; END $$;"
        f"CREATE TRIGGER broken BEFORE UPDATE ON {table} FOR EACH ROW {when} EXECUTE FUNCTION broken()",
    )


@asynccontextmanager
async def beating(fleet: Fleet) -> AsyncIterator[list[Claimant]]:
    """It beats, and joins again when it is taken for dead: a list of its later claimants."""
    later: list[Claimant] = []

    async def rejoin() -> None:
        later.append(await fleet.join())

    task = asyncio.create_task(fleet.run(rejoin))
    try:
        yield later
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def rows(database: Database) -> dict[str, hosts.HostRow]:
    return {row.name: row for row in hosts.hosts(database)}


async def test_who_joins_is_in_the_database_and_beats(database: Database) -> None:
    async with linked(database.url) as link:
        fleet = host(link, interval=0.01)
        claimant = await fleet.join()
        assert rows(database)["h1"].incarnation == claimant.incarnation
        async with beating(fleet):
            await until_async(lambda: rows(database)["h1"].beat >= 3, what="three beats", seconds=60)
        assert rows(database)["h1"].info == hosts.HostInfo(slots=2)


async def test_a_restart_settles_what_the_last_incarnation_left(database: Database) -> None:
    async with linked(database.url) as link:
        member = join(database, make_experiment(), claimant=await host(link).join())
        member.take(1)
        again = host(link)
        await again.join()
        with capture_logs() as logged:
            assert await again.settle_orphans()
        [record] = logged
        assert (record["event"], record["experiment"], record["trial"]) == ("lost trial settled", "exp", 0)
        assert member.trial(0).state is TrialState.FAIL
        assert (member.now().free, member.now().held, member.now().trials) == (1, 0, 0)


async def test_a_host_whose_joining_was_forgotten_joins_again(database: Database) -> None:
    async with linked(database.url) as link:
        await host(link).join()
        fleet = host(link, interval=0.05)
        with forgotten(database):
            await fleet.join()
        async with beating(fleet) as later:
            await until_async(lambda: bool(later), what="it to join again", seconds=60)
        assert rows(database)["h1"].incarnation == later[0].incarnation


async def test_a_host_that_is_silent_is_found_dead_and_its_trials_are_lost(database: Database) -> None:
    silent = join(database, make_experiment(), "silent")
    silent.take(1)
    async with linked(database.url) as link:
        fleet = host(link, expire=EXPIRE)
        await fleet.join()
        async with beating(fleet) as later:
            await until_async(lambda: silent.now().free == 1, what="the orphan to be settled", seconds=60)
        assert (rows(database)["silent"].dead, rows(database)["h1"].dead, later) == (True, False, [])
    assert silent.trial(0).user_attrs["FAILURE"]["cause"] == "lost"


async def test_who_was_taken_for_dead_learns_it_with_its_next_beat_and_joins_as_another(
    database: Database,
) -> None:
    async with linked(database.url) as link:
        fleet = host(link, interval=0.01)
        claimant = await fleet.join()
        async with beating(fleet) as later:
            kill(database, claimant)
            await until_async(lambda: later, what="another incarnation", seconds=60)
        assert rows(database)["h1"].incarnation == later[-1].incarnation != claimant.incarnation
        assert fleet.claimant == later[-1]


async def test_a_living_hosts_name_is_refused(database: Database) -> None:
    async with linked(database.url) as link:
        living = host(link, interval=0.01)
        claimant = await living.join()
        async with beating(living):
            with pytest.raises(Conflict, match="cannot join the fleet as h1: another live daemon"):
                await host(link, installation_id="two").join()
        assert rows(database)["h1"].incarnation == claimant.incarnation


async def test_a_silent_hosts_name_is_taken_over_when_it_has_expired(database: Database) -> None:
    async with linked(database.url) as link:
        member = join(database, make_experiment(), claimant=await host(link).join())
        member.take(1)
        successor = host(link, installation_id="two", expire=EXPIRE)
        async with asyncio.timeout(60):
            await successor.join()
            await successor.settle_orphans()
        assert (rows(database)["h1"].installation_id, successor.waits_for_name) == ("two", False)
        assert member.trial(0).state is TrialState.FAIL


async def test_who_left_is_succeeded_at_once(database: Database) -> None:
    async with linked(database.url) as link:
        fleet = host(link)
        await fleet.join()
        await fleet.leave()
        assert (rows(database)["h1"].dead, rows(database)["h1"].info.state) == (True, HostState.STOPPED)
        await host(link, installation_id="two", interval=NEVER).join()


async def test_who_never_joined_has_nothing_to_leave(database: Database) -> None:
    async with linked(database.url) as link:
        await host(link).leave()
        assert rows(database) == {}


async def test_a_bug_in_a_beat_is_told_and_ends_nothing(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        async with linked(database.url) as link:
            fleet = host(link, interval=0.01)
            await fleet.join()
            break_updates(database.url, "t_host")
            with capture_logs() as logged:
                async with beating(fleet) as later:
                    await until_async(lambda: logged, what="the bug to be logged", seconds=60)
                    query(database.url, "DROP TRIGGER broken ON t_host")
                    await until_async(
                        lambda: rows(database)["h1"].beat >= 2, what="beats to go on", seconds=60
                    )
            assert (logged[0]["doing"], later) == ("beat", [])


async def test_a_study_that_cannot_be_settled_does_not_hold_up_the_others(postgresql_url: str) -> None:
    with opened(postgresql_url) as database:
        bad = join(database, make_experiment(name="bad"), "silent")
        good = join(database, make_experiment(name="good"), claimant=bad.claimant)
        for member in (bad, good):
            member.take(1)
        kill(database, bad.claimant)
        break_updates(database.url, "t_study", f"WHEN (OLD.study_id = {bad.status.study_id})")
        async with linked(database.url) as link:
            fleet = host(link)
            await fleet.join()
            assert not await fleet.settle_orphans()
        assert (good.now().free, bad.now().free) == (1, 0)


async def test_an_outage_makes_the_watch_begin_anew_and_hosts_join_after_it(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    with opened(url):
        pass
    async with linked(url) as link:
        fleet = host(link, interval=0.05)
        await fleet.join()
        async with beating(fleet) as later:
            await until_async(lambda: fleet.sightings, what="a look at the others", seconds=60)
            postgres.stop()
            await until_async(lambda: not fleet.sightings, what="the watch to begin anew", seconds=60)
            joining = asyncio.create_task(host(link, "h2", "two").join())
            postgres.start()
            async with asyncio.timeout(60):
                await joining
            await until_async(lambda: len(fleet.sightings) == 2, what="a look at both", seconds=60)
        assert later == []


async def test_a_hosts_own_row_is_no_copy_of_it_whatever_a_person_did_to_it_meanwhile(
    sqlite_url: str,
) -> None:
    async with linked(sqlite_url) as link:
        fleet = host(link)
        await fleet.join()
        assert await fleet._namesakes() == []
        # The same state directory under the same name, as another incarnation.
        await host(link).join()
        assert len(await fleet._namesakes()) == 1
