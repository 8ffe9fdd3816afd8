"""Results are on disk first and told in order; one that cannot be told holds up no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from optuna.trial import TrialState
from structlog.testing import capture_logs

from tests.factories import Member, join, linked, make_experiment
from tuned.daemon.teller import Teller
from tuned.disk.outbox import Outbox, encode
from tuned.domain.result import Result, TellOutcome
from tuned.storage.trials.outputs import KeptOutput, kept_output


@asynccontextmanager
async def telling(url: str, home: Path) -> AsyncIterator[tuple[Teller, Outbox, Member]]:
    async with linked(url) as link:
        outbox = Outbox(home / "outbox")
        yield Teller(link, outbox), outbox, await asyncio.to_thread(join, link.database, make_experiment())


async def tell_all(teller: Teller) -> list[tuple[int, TellOutcome]]:
    """The numbers of the trials that were told, in order, and what became of each."""
    told = []

    async def note(result: Result, outcome: TellOutcome) -> None:
        told.append((result.number, outcome))

    running = asyncio.create_task(teller.run(note))
    await asyncio.wait_for(teller.emptied(), 60)
    running.cancel()
    return told


async def test_a_result_is_on_disk_until_the_database_has_it(database_url: str, tmp_path: Path) -> None:
    async with telling(database_url, tmp_path) as (teller, outbox, member):
        result = member.result(member.take(3), 0.5)
        teller.put(result)
        await teller.written()
        assert [record for _, record in outbox.pending()] == [encode(result)]
        assert teller.claims == {result.claim_id: result.study_id}
        assert await tell_all(teller) == [(0, TellOutcome.TOLD)]
        assert (outbox.pending(), len(teller)) == ([], 0)
        assert member.trial(0).state is TrialState.COMPLETE


async def test_the_output_of_a_failed_trial_goes_with_its_result_and_no_other(
    sqlite_url: str, tmp_path: Path
) -> None:
    async def find_output() -> bytes:
        return b"Traceback\xff\n"

    async with telling(sqlite_url, tmp_path) as (teller, _, member):
        for x, values in ((1, ()), (2, (0.5,))):
            teller.put(member.result(member.take(x), *values), find_output=find_output)
        await tell_all(teller)
        kept = [kept_output(member.database, member.status.study_id, number) for number in (0, 1)]
        assert kept == [KeptOutput("h1", b"Traceback\xff\n"), None]


async def test_results_of_an_earlier_daemon_are_told_before_new_ones(sqlite_url: str, tmp_path: Path) -> None:
    async with telling(sqlite_url, tmp_path) as (teller, outbox, member):
        earlier, later = (member.result(member.take(x), 0.5) for x in (1, 2))
        outbox.put(outbox.new_name(), encode(earlier))
        await teller.restore()
        teller.put(later)
        assert await tell_all(teller) == [(0, TellOutcome.TOLD), (1, TellOutcome.TOLD)]


async def test_a_record_that_is_no_result_is_set_aside(sqlite_url: str, tmp_path: Path) -> None:
    async with telling(sqlite_url, tmp_path) as (teller, outbox, member):
        outbox.put(outbox.new_name(), {"trial_id": "many"})
        await teller.restore()
        teller.put(member.result(member.take(1), 0.5))
        assert await tell_all(teller) == [(0, TellOutcome.TOLD)]
        assert outbox.pending() == []
        [aside] = (tmp_path / "outbox").glob("*.corrupt")
        assert json.loads(aside.read_text()) == {"trial_id": "many"}


async def test_a_result_that_the_disk_does_not_take_is_told_from_memory(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with telling(sqlite_url, tmp_path) as (teller, _outbox, member):
        (tmp_path / "outbox").rename(tmp_path / "gone")
        with capture_logs() as logs:
            for x in (1, 2):
                teller.put(member.result(member.take(x), 0.5))
            assert await tell_all(teller) == [(0, TellOutcome.TOLD), (1, TellOutcome.TOLD)]
        # Once for all that fail alike.
        assert [each["event"] for each in logs if each["log_level"] == "error"] == [
            "result not on disk, kept in memory"
        ]
