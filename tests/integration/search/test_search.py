"""One experiment on one host: whether the host works on it, why not, and what people are told of that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

import tuned.search.search
from tests.factories import CRASH, Member, join, line, linked, make_claimant, make_experiment
from tuned.domain.claim import Claimed
from tuned.domain.ending import MOST_CRASHES_IN_A_ROW, Ending
from tuned.domain.resources import Shortfall
from tuned.domain.states import SearchState, StudyState
from tuned.errors import DatabaseAway
from tuned.events import Events
from tuned.search.fault import FIRST_PAUSE_SECONDS
from tuned.search.sampling import PointSource
from tuned.search.search import Search
from tuned.storage.studies import set_state

FAILED, COMPLETE = Ending(failure=CRASH), Ending(values=(1.0,))
NEEDS = Shortfall(missing="needs 2 GPUs, this host has none")
UNENFORCED = Shortfall(unenforced="trials run without the limit memory")


@pytest.fixture
async def member(sqlite_url: str) -> AsyncIterator[Member]:
    async with linked(sqlite_url) as link:
        yield await asyncio.to_thread(join, link.database, make_experiment(space=line(2)))


@pytest.fixture
async def search(sqlite_url: str, events: Events, member: Member) -> AsyncIterator[Search]:
    async with linked(sqlite_url) as link:
        yield await Search.begin(
            link, events, member.experiment, encoding=member.encoding, status=member.status,
            claimant=member.claimant, file="exp",
        )  # fmt: skip


@pytest.fixture
def events() -> Events:
    return Events("h1")


async def told(events: Events, *, of: Any) -> list[tuple[Any, Any]]:
    """State and note of each event that is published meanwhile."""
    with events.subscribe() as subscription:
        of()
        subscription.close()
        return [(event.get("state"), event.get("note")) async for event in subscription]


def fail_often(search: Search) -> None:
    for _ in range(MOST_CRASHES_IN_A_ROW):
        search.count_ending(FAILED)


async def test_crashes_in_a_row_pause_it_until_a_person_resumes_it(search: Search, events: Events) -> None:
    for _ in range(MOST_CRASHES_IN_A_ROW - 1):
        search.count_ending(FAILED)
    search.count_ending(COMPLETE)
    assert search.may_start(1)
    note = "10 crashes in a row on this host; fix it, then: tunectl resume exp"
    assert await told(events, of=lambda: fail_often(search)) == [("open", note)]
    assert (search.state, search.note, search.may_start(1)) == (SearchState.PAUSED, note, False)
    assert await told(events, of=lambda: search.count_ending(FAILED)) == []
    search.resume()
    assert (search.state, search.note, search.may_start(1)) == (SearchState.WORKING, "", True)


async def test_it_rests_while_the_host_lacks_something_and_says_what(search: Search, events: Events) -> None:
    assert await told(events, of=lambda: search.assess(NEEDS)) == [("open", NEEDS.missing)]
    assert (search.state, search.may_start(1)) == (SearchState.RESTING, False)
    assert await told(events, of=lambda: search.assess(NEEDS)) == []
    less = replace(NEEDS, missing="needs 2 GPUs, this host has 1")
    assert await told(events, of=lambda: search.assess(less)) == [("open", less.missing)]
    search.assess(Shortfall())
    assert (search.state, search.note) == (SearchState.WORKING, "")


async def test_a_limit_that_is_not_kept_is_noted_beside_every_state(search: Search) -> None:
    search.assess(UNENFORCED)
    assert (search.state, search.note) == (SearchState.WORKING, UNENFORCED.unenforced)
    search.pause("no")
    assert search.note == f"no; {UNENFORCED.unenforced}"


async def test_what_a_host_lacks_shows_again_when_a_pause_is_over(search: Search) -> None:
    search.pause("no")
    search.assess(NEEDS)
    assert (search.state, search.note) == (SearchState.PAUSED, "no")
    search.resume()
    assert (search.state, search.note) == (SearchState.RESTING, NEEDS.missing)


async def test_an_experiment_that_was_withdrawn_is_never_begun_again(search: Search) -> None:
    search.withdraw()
    search.pause("no")
    search.assess(NEEDS)
    search.resume()
    search.assess(Shortfall())
    assert (search.state, search.note) == (SearchState.WITHDRAWN, "withdrawn on this host")


@pytest.mark.parametrize(
    "state", [SearchState.WORKING, SearchState.RESTING, SearchState.PAUSED, SearchState.WITHDRAWN]
)
async def test_an_end_for_which_the_database_was_away_leaves_the_state_as_it_was(
    search: Search, state: SearchState
) -> None:
    search.assess(NEEDS if state is SearchState.RESTING else Shortfall())
    if state is SearchState.PAUSED:
        search.pause("no")
    if state is SearchState.WITHDRAWN:
        search.withdraw()
    search.look(replace(search.status, state=StudyState.DONE))
    before = (search.state, search.note, search.was_found_over)
    assert before[0] is state

    def end() -> None:
        with search.ending():
            assert not search.was_found_over
            raise DatabaseAway("gone")

    with pytest.raises(DatabaseAway):
        end()
    assert (search.state, search.note, search.was_found_over) == before
    with search.ending():
        pass
    assert (search.state, search.note) == (SearchState.ENDING, before[1])


async def test_people_are_told_once_that_the_study_was_paused_or_opened(
    search: Search, events: Events
) -> None:
    paused = replace(search.status, state=StudyState.PAUSED)
    assert await told(events, of=lambda: search.look(paused)) == [("paused", "")]
    assert await told(events, of=lambda: search.look(paused)) == []
    done = replace(paused, state=StudyState.DONE)
    assert await told(events, of=lambda: search.look(done)) == []


async def test_people_are_told_at_once_that_something_has_ended_a_search_in_which_trials_run(
    search: Search, events: Events
) -> None:
    ends = replace(search.status, ended_by="target 1 reached by trial 2 on h3", held=1)
    assert await told(events, of=lambda: search.look(ends)) == [("open", "")]
    assert await told(events, of=lambda: search.look(ends)) == []
    assert not search.may_start(1)


async def test_a_search_that_found_nothing_asks_again_when_the_study_was_looked_at(
    search: Search, member: Member
) -> None:
    while search.may_start(1):
        await search.claim_next(0)
    assert (search.state, search.note) == (SearchState.IDLE, "")
    search.look(member.now())
    assert (search.state, search.may_start(1)) == (SearchState.WORKING, True)


async def test_a_new_incarnation_takes_effect_in_the_event_loop_and_not_before(
    search: Search, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_made, may_return = threading.Event(), threading.Event()

    def make_late(*arguments: Any) -> PointSource:
        source = PointSource(*arguments)
        is_made.set()
        assert may_return.wait(60)
        return source

    monkeypatch.setattr(tuned.search.search, "PointSource", make_late)
    # Of another host: so the first may claim all the time.
    holding = asyncio.create_task(search.hold(later := make_claimant(member.database, "h2")))
    assert await asyncio.to_thread(is_made.wait, 60)
    claimed = await search.claim_next(0)
    assert isinstance(claimed, Claimed)
    assert claimed.incarnation == member.claimant.incarnation
    may_return.set()
    await holding
    while not isinstance(claimed := await search.claim_next(0), Claimed):
        pass
    assert claimed.incarnation == later.incarnation


async def test_an_older_look_never_replaces_a_newer_one(search: Search, member: Member) -> None:
    older = member.now()
    set_state(member.database, older.study_id, StudyState.PAUSED)
    newer = member.now()
    search.look(newer)
    search.look(older)
    assert search.status == newer
    set_state(member.database, older.study_id, StudyState.OPEN)
    search.look(member.now())
    assert search.status.state is StudyState.OPEN


def make_due(search: Search) -> None:
    assert search._faults.last is not None
    search._faults.last = replace(search._faults.last, due=0)


async def test_a_failure_rests_it_until_a_pause_is_over_that_grows_while_it_fails(
    search: Search, events: Events
) -> None:
    note = "TypeError: unhashable"
    error = TypeError("unhashable\nin a sampler")
    assert await told(events, of=lambda: search.rest(error)) == [("open", note)]
    assert (search.state, search.note, search.may_start(1)) == (SearchState.RESTING, note, False)
    search.look(search.status)
    search.note_turn()
    assert (search.state, search.is_due) == (SearchState.RESTING, False)
    make_due(search)
    assert search.is_due
    search.try_again()
    # Its reason stands until a turn has gone well, or people would see it come and go.
    assert (search.note, search.may_start(1), search.is_due) == (note, True, False)
    assert await told(events, of=lambda: search.rest(error)) == []
    assert search._faults.last is not None
    assert search._faults.last.pause_seconds == 2 * FIRST_PAUSE_SECONDS


async def test_a_turn_that_goes_well_or_a_person_makes_the_next_failure_a_first_one(search: Search) -> None:
    search.rest(TypeError("no"))
    search.try_again()
    search.note_turn()
    assert search.note == ""
    search.rest(TypeError("no"))
    assert search._faults.last is not None
    assert search._faults.last.pause_seconds == FIRST_PAUSE_SECONDS
    search.resume()
    assert (search.state, search.note) == (SearchState.WORKING, "")


async def test_a_failure_does_not_end_a_persons_pause(search: Search) -> None:
    search.pause("no")
    search.rest(TypeError("unhashable"))
    assert (search.state, search.note) == (SearchState.PAUSED, "no")


@pytest.mark.parametrize("odd", ["{oops", "[]", '{"space": {}}'])
async def test_it_rests_while_its_definition_is_another_and_goes_on_when_it_is_mended(
    search: Search, odd: str
) -> None:
    good = search.status
    search.look(replace(good, definition=odd))
    assert (search.state, bool(search.note)) == (SearchState.RESTING, True)
    search.look(good)
    assert (search.state, search.note) == (SearchState.WORKING, "")


async def test_it_says_that_another_program_renamed_its_study(search: Search) -> None:
    search.look(replace(search.status, name="theirs"))
    assert search.note == "another program renamed study exp to theirs"
    assert search.may_start(1)
