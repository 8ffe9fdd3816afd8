"""The daemon's end of the socket on which an objective reports."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import until_async
from tuned.domain.ending import MOST_STEPS
from tuned.trial.channel import Channel, nothing_known
from tuned.trial.objective_reports import ObjectiveReports
from tuned.worker.channel import Channel as TrialsEnd
from tuned.worker.channel import StudyFacts


async def test_reports_are_read_as_they_come_and_to_their_end() -> None:
    reports = ObjectiveReports(1)
    with Channel(reports, nothing_known) as channel:
        trial = TrialsEnd(channel.writer)
        trial.tell({"step": 1, "value": 0.5})
        await until_async(lambda: reports.intermediate, what="a report")
        trial.tell({"values": [0.25]})
    assert (reports.intermediate, reports.finish()) == ({1: 0.5}, (0.25,))


async def test_a_question_is_answered_each_time() -> None:
    answers = iter(range(3))

    async def answer(question: str) -> StudyFacts:
        assert question == "study"
        # More than the socket holds at once.
        return {"user_attrs": {"n": next(answers), "long": "x" * 10**6}, "best": []}

    with Channel(ObjectiveReports(1), answer) as channel:
        trial = TrialsEnd(channel.writer)
        found = [(await asyncio.to_thread(trial.ask))["user_attrs"]["n"] for _ in range(3)]
    assert found == [0, 1, 2]


async def test_a_flood_takes_its_turn_and_bounded_memory() -> None:
    reports = ObjectiveReports(1)
    with Channel(reports, nothing_known) as channel:
        trial = TrialsEnd(channel.writer)

        def flood() -> None:
            for step in range(30_000):
                trial.tell({"step": step, "value": 0.5})

        await asyncio.to_thread(flood)
    # Every fourth step, and the last one.
    assert len(reports.intermediate) == 30_000 / 4 + 1 < MOST_STEPS


async def test_a_process_that_escaped_is_not_waited_for() -> None:
    with Channel(ObjectiveReports(1), nothing_known) as channel:
        held = channel.writer
        channel.writer = -1
    # It holds its end open to now.
    with pytest.raises(BrokenPipeError):
        TrialsEnd(held).tell({"values": [1.0]})
