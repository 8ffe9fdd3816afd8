"""A host and a database that has forgotten its last transactions agree again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from structlog.testing import capture_logs

from tests.factories import Member, join, line, linked
from tests.forgetting import forgotten
from tests.integration.daemon.wiring import Rooms, wired
from tests.waiting import until_async
from tuned.daemon.reconciliation import Reconciliation
from tuned.daemon.trials.running import Running
from tuned.domain.claim import Claimed
from tuned.domain.result import Result, TellOutcome
from tuned.experiment.experiment import parse
from tuned.search.search import Search
from tuned.storage.link import Link

pytestmark = pytest.mark.usefixtures("_subreaper")


@dataclass(frozen=True, kw_only=True)
class Host:
    """One slot, whose trial waits for a file."""

    link: Link
    rooms: Rooms
    search: Search
    member: Member
    reconciliation: Reconciliation

    def finish(self) -> None:
        (self.rooms.home / "gate").touch()

    async def runs(self) -> Running:
        await until_async(lambda: self.rooms.scheduler.slots[0] is not None, what="a trial to run")
        running = self.rooms.scheduler.slots[0]
        assert running is not None
        return running

    async def is_idle(self) -> None:
        await until_async(lambda: self.rooms.scheduler.slots == [None], what="the trial to end")
        await self.rooms.teller.emptied()


@asynccontextmanager
async def serving(url: str, home: Path) -> AsyncIterator[Host]:
    async with linked(url) as link:
        with wired(link, home) as rooms:
            script = f"until [ -e {home}/gate ]; do sleep 0.05; done; echo $TUNED_PARAM_X"
            text = f'sampler.name = "grid"\n[objective]\ncommand = ["sh", "-c", "{script}"]\n{line(1)}'
            experiment = parse(text.encode(), "exp.toml")
            member = await asyncio.to_thread(join, link.database, experiment)
            search = await Search.begin(
                link, rooms.events, experiment, encoding=member.encoding, status=member.status,
                claimant=member.claimant, file="exp",
            )  # fmt: skip

            async def note(result: Result, _told: TellOutcome) -> None:
                search.note_told(result)

            tasks = [asyncio.create_task(rooms.scheduler.run()), asyncio.create_task(rooms.teller.run(note))]
            yield Host(
                link=link,
                rooms=rooms,
                search=search,
                member=member,
                reconciliation=Reconciliation(
                    link, rooms.teller, rooms.scheduler, claimant=lambda: member.claimant
                ),
            )
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


def states(member: Member) -> list[TrialState]:
    return [trial.state for trial in member.trials()]


async def test_a_running_trial_whose_claim_was_forgotten_is_claimed_again(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as host:
        with forgotten(host.member.database):
            host.rooms.scheduler.admit(host.search)
            running = await host.runs()
        assert states(host.member) == []
        await host.reconciliation.look()
        assert states(host.member) == [TrialState.RUNNING]
        assert running.claimed.number == 0
        host.finish()
        await host.is_idle()
        assert [trial.values for trial in host.member.trials()] == [[0.0]]
        assert (host.member.now().trials, host.member.now().visited) == (1, 1)


async def test_a_running_trial_whose_point_another_host_got_meanwhile_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as host:
        with forgotten(host.member.database):
            host.rooms.scheduler.admit(host.search)
            await host.runs()
        other = await asyncio.to_thread(join, host.member.database, host.member.experiment, "h2")
        theirs = await asyncio.to_thread(other.take, 0)
        await host.reconciliation.look()
        await host.is_idle()
        assert await asyncio.to_thread(other.tell, theirs, 0.0) is TellOutcome.TOLD
        assert states(host.member) == [TrialState.COMPLETE]


async def test_a_told_result_that_was_forgotten_is_told_again(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, tmp_path) as host:
        host.rooms.scheduler.admit(host.search)
        await host.runs()
        with forgotten(host.member.database):
            host.finish()
            await host.is_idle()
            assert states(host.member) == [TrialState.COMPLETE]
        assert states(host.member) == [TrialState.RUNNING]
        await host.reconciliation.look()
        await host.rooms.teller.emptied()
        assert [trial.values for trial in host.member.trials()] == [[0.0]]
        before = host.member.trials()
        await host.reconciliation.look()
        assert (len(host.rooms.teller), host.member.trials()) == (0, before)


async def test_a_result_that_is_told_while_the_database_is_asked_is_not_taken_for_forgotten(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(database_url, tmp_path) as host:
        host.rooms.scheduler.admit(host.search)
        await host.runs()
        ask = host.link.call

        async def ask_slowly(*question: Any) -> Any:
            answer = await ask(*question)
            host.finish()
            await host.is_idle()
            return answer

        monkeypatch.setattr(host.link, "call", ask_slowly)
        with capture_logs() as logs:
            await host.reconciliation.look()
        assert host.rooms.teller.newest_told == 1
        assert [each["event"] for each in logs if "forgotten" in each["event"]] == []


async def test_a_result_that_the_database_knew_already_is_told_again_if_it_forgets_it(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as host:
        host.rooms.scheduler.admit(host.search)
        running = await host.runs()
        with forgotten(host.member.database):
            # A tell whose outcome the host does not know.
            assert await asyncio.to_thread(host.member.tell, running.claimed, 0.0) is TellOutcome.TOLD
            host.finish()
            await host.is_idle()
        await host.reconciliation.look()
        await host.rooms.teller.emptied()
        assert [trial.values for trial in host.member.trials()] == [[0.0]]


async def test_a_trial_that_a_person_deleted_is_not_told_again(database_url: str, tmp_path: Path) -> None:
    async with serving(database_url, tmp_path) as host:
        host.rooms.scheduler.admit(host.search)
        await host.runs()
        host.finish()
        await host.is_idle()
        host.member.delete_trial(0)
        await host.reconciliation.look()
        assert (len(host.rooms.teller), states(host.member)) == (0, [])


async def test_a_trial_that_is_called_ours_and_that_does_not_run_is_settled_at_the_second_look(
    database_url: str, tmp_path: Path
) -> None:
    async with serving(database_url, tmp_path) as host:
        held = await asyncio.to_thread(host.member.take, 0)
        assert isinstance(held, Claimed)
        await host.reconciliation.look()
        assert states(host.member) == [TrialState.RUNNING]
        await host.reconciliation.look()
        assert states(host.member) == [TrialState.FAIL]
        assert (host.member.now().free, host.member.now().trials) == (1, 0)
