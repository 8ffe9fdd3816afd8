"""One document for chat services and programs, and which news is none any more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast

from tuned.daemon.upkeep.messages import fresh, message
from tuned.domain.news.notices import NO_WISHES, Occasion, Wishes
from tuned.protocol.experiments import ExperimentSummary
from tuned.storage.trials.notices import Notice

NOTICE = Notice(
    study_id=1, occasion=Occasion.BETTER, id="n1", name="exp", words="0.5 in trial 7 on h1", since=0.0,
    tries=2, claim_id="c", wishes=NO_WISHES, trial=7,
)  # fmt: skip


def summarized(number: int | None, value: float = 0.5, **more: object) -> ExperimentSummary:
    best = None
    if number is not None:
        best = {"number": number, "values": [value], "host": "h2", "params": {"x": 1}, "constraints": {}}
    found = {"best": best, "directions": ["minimize"], "state": "open", "trials": 9, **more}
    return cast("ExperimentSummary", found)


def texts(notice: Notice, summary: ExperimentSummary) -> str:
    return str(json.loads(message(notice, summary, "h3"))["text"])


def test_a_value_that_a_better_one_had_come_before_is_no_news() -> None:
    assert fresh(NOTICE, summarized(3)) is None
    assert fresh(NOTICE, summarized(None)) is None
    assert fresh(replace(NOTICE, told_trial=9), summarized(9)) is None


def test_a_better_value_is_no_news_to_those_who_are_told_of_the_end() -> None:
    done = summarized(7, state="done")
    assert fresh(NOTICE, done) is not None
    both = Wishes(on=frozenset({"better", "done"}))
    assert fresh(replace(NOTICE, wishes=both), done) is None


def test_the_best_of_now_is_told_and_remembered() -> None:
    telling = fresh(NOTICE, summarized(9, 0.25))
    assert telling is not None
    assert telling.told_trial == 9
    assert texts(telling, summarized(9, 0.25)) == "exp: a better value, 0.25 in trial 9 on h2"


def test_each_occasion_has_its_words() -> None:
    ended = replace(NOTICE, occasion=Occasion.ENDED, words="9 trials")
    assert texts(ended, summarized(7)) == "exp is over: 9 trials; best 0.5 in trial 7 on h2"
    fruitless = replace(ended, occasion=Occasion.FRUITLESS)
    assert texts(fruitless, summarized(None)) == "exp is over without a value: 9 trials"
    broken = replace(ended, occasion=Occasion.BROKEN, words="never succeeded")
    assert texts(broken, summarized(None)) == "exp is paused: never succeeded"


def test_the_document_is_json_whatever_the_value_is_and_however_many_parameters_there_are() -> None:
    summary = summarized(7, float("-inf"))
    said = json.loads(message(NOTICE, summary, "h3"), parse_constant=lambda name: [][int(name)])
    assert (said["id"], said["event"], said["time"]) == ("n1", "better", "1970-01-01T00:00:00+00:00")
    assert (said["host"], said["try"], said["best"]["values"]) == ("h3", 2, ["-inf"])
    assert summary["best"] is not None
    summary["best"]["params"] = {f"x{number}": number for number in range(10_000)}
    assert "params" not in json.loads(message(NOTICE, summary, "h3"))["best"]
