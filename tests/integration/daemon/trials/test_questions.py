"""Answers to the questions of objectives."""

from __future__ import annotations

from tests.factories import linked, opened
from tuned.daemon.trials.judge import Judge
from tuned.daemon.trials.questions import Questions
from tuned.keeper.runs import Runs
from tuned.worker.channel import ASK, ASK_PRUNING


async def test_of_a_study_that_is_gone_nothing_is_known(sqlite_url: str) -> None:
    with opened(sqlite_url):
        pass
    async with linked(sqlite_url) as link:
        questions = Questions(link, Judge(link, Runs(1).note))
        assert await questions.answer(99, None, ASK["ask"]) == {"user_attrs": {}, "best": []}


async def test_a_trial_that_no_rule_looks_at_is_not_told_to_end(sqlite_url: str) -> None:
    async with linked(sqlite_url) as link:
        assert await Questions(link, Judge(link, Runs(1).note)).answer(1, None, ASK_PRUNING["ask"]) is None
