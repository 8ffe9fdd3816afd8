"""Reports of running trials, in batches for the database and in events for readers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.factories import CRASH, Member, join, linked, make_experiment, statements
from tests.integration.daemon.wiring import Rooms, wired
from tuned.daemon.live_values import MOST_VALUES, SHARE_SECONDS, LiveValues
from tuned.daemon.trials.running import Running
from tuned.domain.claim import Claimed
from tuned.domain.ending import MOST_STEPS, Ending
from tuned.search.search import Search
from tuned.storage.queries import experiments
from tuned.trial.curve import Curve
from tuned.trial.evaluation import Evaluation, Site
from tuned.trial.keeping import Run, Watcher


@dataclass(kw_only=True)
class Host:
    rooms: Rooms
    search: Search
    member: Member
    live: LiveValues

    def begin(self, *points: int, seconds: float = SHARE_SECONDS) -> list[Running]:
        """Trials that have run for so long, each in a slot of its own, without their processes."""
        begun = [self._running(self.member.take(x), slot, seconds) for slot, x in enumerate(points)]
        self.rooms.scheduler.slots[:] = begun
        return begun

    def reported(self, number: int = 0) -> dict[int, float]:
        return self.member.trial(number).intermediate_values

    def _running(self, claimed: Claimed, slot: int, seconds: float) -> Running:
        site = Site(host="h1", state=None, cgroups=None, grace_seconds=0)  # type: ignore[arg-type]
        evaluation = Evaluation(
            experiment=self.search.experiment, definition="", study_uid=self.search.status.uid,
            claimed=claimed, site=site, slot=slot, carry_out=_never,
        )  # fmt: skip
        task: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        began = time.monotonic() - seconds
        return Running(
            search=self.search, claimed=claimed, evaluation=evaluation, task=task, began=began,  # type: ignore[arg-type]
        )  # fmt: skip


async def _never(_run: Run, _watcher: Watcher) -> Ending:
    raise AssertionError


@pytest.fixture
async def host(database_url: str, tmp_path: Path) -> AsyncIterator[Host]:
    async with linked(database_url) as link:
        with wired(link, tmp_path) as rooms:
            experiment = make_experiment()
            member = await asyncio.to_thread(join, link.database, experiment)
            search = await Search.begin(
                link, rooms.events, experiment, encoding=member.encoding, status=member.status,
                claimant=member.claimant, file="exp",
            )  # fmt: skip
            live = LiveValues(link, rooms.scheduler)
            yield Host(rooms=rooms, search=search, member=member, live=live)


def report(running: Running, *values: float, first: int = 0) -> None:
    for step, value in enumerate(values, first):
        running.evaluation.curve.put(step, (value,))


async def test_one_batch_has_what_changed_of_all_trials(host: Host) -> None:
    one, two = host.begin(1, 2)
    report(one, 0.5, math.nan)
    report(two, math.inf)
    await host.live.share()
    report(one, 4.0, first=2)
    with statements(host.member.database) as seen:
        await host.live.share()
        batch = len(seen)
        await host.live.share()
    assert (batch, len(seen)) == (3, 3)
    assert host.reported(1) == {0: math.inf}
    assert host.reported()[2] == 4.0


async def test_a_trial_that_has_just_begun_is_in_no_batch(host: Host) -> None:
    [running] = host.begin(1, seconds=SHARE_SECONDS - 1)
    report(running, 0.5)
    with statements(host.member.database) as seen:
        await host.live.share()
    assert seen == []


async def test_a_batch_is_bounded_and_later_ones_have_the_rest(host: Host) -> None:
    one, two = host.begin(1, 2)
    report(one, *[0.5] * MOST_VALUES)
    report(two, 0.5)
    await host.live.share()
    first = host.reported()
    assert (len(first), max(first)) == (MOST_VALUES // 2, MOST_VALUES - 1)
    assert host.reported(1) == {0: 0.5}
    await host.live.share()
    assert len(host.reported()) == MOST_VALUES


async def test_steps_that_were_thinned_out_go_from_the_database(host: Host) -> None:
    [running] = host.begin(1)
    report(running, 0.5, 0.5, 0.5)
    await host.live.share()
    report(running, *[0.25] * MOST_STEPS, first=3)
    await host.live.share()
    found = host.reported()
    assert 1 not in found
    assert found.keys() <= running.evaluation.curve.values.keys()


async def test_a_retry_takes_the_place_of_the_attempt_before(host: Host) -> None:
    [running] = host.begin(1)
    report(running, 0.5, 0.25, 0.125)
    running.evaluation.system_attrs["completed_rung_0"] = 0.5
    await host.live.share()
    running.evaluation.curve = Curve()
    report(running, 7.0)
    await host.live.share()
    assert host.reported() == {0: 7.0}
    assert host.member.trial(0).system_attrs == {"completed_rung_0": 0.5}


async def test_a_trial_that_is_claimed_again_is_shared_again(host: Host) -> None:
    [running] = host.begin(1)
    report(running, 0.5)
    await host.live.share()
    running.claimed = host.member.take(2)
    await host.live.share()
    assert host.reported(1) == {0: 0.5}


async def test_a_trial_whose_result_is_told_meanwhile_keeps_that(host: Host) -> None:
    [running] = host.begin(1)
    report(running, 0.5)
    host.member.tell(running.claimed, intermediate={0: 1.0}, retried=(CRASH,))
    await host.live.share()
    assert host.reported() == {0: 1.0}


async def test_the_last_report_of_a_running_trial_is_shown(host: Host) -> None:
    [running] = host.begin(1)
    report(running, 0.5, math.inf)
    await host.live.share()
    study = host.member.status.study_id
    database = host.member.database
    [trial] = experiments.trials(database, study, state=None, before=None, limit=9)
    assert trial["report"] == {"step": 1, "value": math.inf}
    assert experiments.experiment(database, "exp")["running"] == [trial]
    story = experiments.story(database, "exp", 0)
    assert (story["reported"], story["reports"]) == (2, [{"step": 0, "value": 0.5}, trial["report"]])


async def test_readers_hear_of_the_newest_report_once(host: Host) -> None:
    [running] = host.begin(1, seconds=0)
    with host.rooms.events.subscribe() as subscription:
        report(running, 0.5, 0.25)
        host.live.announce()
        host.live.announce()
        report(running, 0.125, first=2)
        host.live.announce()
        host.rooms.events.close()
        told = [event["report"] async for event in subscription if event["event"] == "trial-reported"]
    assert told == [{"step": 1, "value": 0.25}, {"step": 2, "value": 0.125}]
