"""The events of one experiment: what readers get of its state and of its trials."""

from __future__ import annotations

from typing import Any

import pytest

from tuned.domain.claim import Action, Candidate, Claimed, Duplicate, Origin, Twin
from tuned.domain.ending import Cause, Ending, Failure, Pruning
from tuned.domain.result import Beginning, Result
from tuned.domain.space import Point
from tuned.domain.states import PointState, StudyState
from tuned.events import Events
from tuned.search.announcements import Announcements

CANDIDATE = Candidate(point=Point(key="a", values={"x": 1}), origin=Origin.SAMPLER)
TWIN = Twin(trial_id=3, number=4, host="h2", state=PointState.DONE)
FAILURE = Failure(cause=Cause.EXIT, message="exit status 3", detail={"status": 3})

BEGINNING = Beginning(claim_id=CANDIDATE.claim_id, origin=Origin.SAMPLER, started=0.0, params=())


async def told(**calls: Any) -> list[dict[str, Any]]:
    """The events of one call, without their time and host, which all events have."""
    events = Events("h1")
    [(name, arguments)] = calls.items()
    with events.subscribe() as subscription:
        getattr(Announcements(events, "exp"), name)(*arguments)
        events.close()
        found: list[dict[str, Any]] = [{**event} async for event in subscription]
    assert all(event.pop("time") and event.pop("host") == "h1" for event in found)
    assert all(event.pop("experiment") == "exp" for event in found)
    return found


def result(ending: Ending) -> Result:
    return Result(
        study_id=1,
        study_uid="u",
        trial_id=2,
        number=7,
        key="a",
        host="h1",
        beginning=BEGINNING,
        ending=ending,
    )


async def test_the_state_of_an_experiment_comes_with_its_note_and_its_end() -> None:
    assert await told(state=(StudyState.PAUSED, "why", None)) == [
        {"event": "experiment-state", "state": "paused", "note": "why", "ended_by": None}
    ]


async def test_a_report_tells_its_step_and_value() -> None:
    claimed = Claimed(study_id=1, trial_id=2, number=7, replica=0, candidate=CANDIDATE, incarnation="i")
    assert await told(reported=(claimed, 5, 3, 0.5)) == [
        {"event": "trial-reported", "trial": 7, "slot": 5, "report": {"step": 3, "value": 0.5}}
    ]


async def test_a_trial_that_starts_tells_its_slot_and_parameters() -> None:
    claimed = Claimed(study_id=1, trial_id=2, number=7, replica=0, candidate=CANDIDATE, incarnation="i")
    assert await told(started=(claimed, 5)) == [
        {"event": "trial-started", "trial": 7, "slot": 5, "attempt": 1, "params": {"x": 1}}
    ]


@pytest.mark.parametrize(
    ("ending", "state", "values", "failure"),
    [
        (Ending(values=(0.5,)), "COMPLETE", [0.5], None),
        (Ending(values=(0.5,), is_pruned=True), "PRUNED", [0.5], None),
        (Ending(is_pruned=True), "PRUNED", None, None),
        (Ending(failure=FAILURE), "FAIL", None, {"cause": "exit", "message": "exit status 3"}),
    ],
)
async def test_an_evaluation_ends_with_values_or_with_a_cause(
    ending: Ending, state: str, values: Any, failure: Any
) -> None:
    assert await told(ended=(result(ending),)) == [
        {
            "event": "trial-ended", "trial": 7, "state": state, "values": values, "failure": failure,
            "pruned": None,
        }
    ]  # fmt: skip


async def test_a_trial_that_a_rule_pruned_says_which_and_why() -> None:
    pruning = Pruning(rule="median", step=3, value=0.5, bound=0.25)
    [event] = await told(ended=(result(Ending(values=(0.5,), is_pruned=True, pruning=pruning)),))
    assert event["pruned"] == {"rule": "median", "step": 3, "value": 0.5, "bound": 0.25}


@pytest.mark.parametrize(("action", "state"), [(Action.REUSE, "COMPLETE"), (Action.SKIP, "FAIL")])
async def test_a_duplicate_with_a_trial_of_its_own_names_its_twin(action: Action, state: str) -> None:
    duplicate = Duplicate(twin=TWIN, action=action, candidate=CANDIDATE, number=8, values=(0.5,))
    assert await told(duplicate=(duplicate,)) == [
        {
            "event": "trial-ended", "trial": 8, "state": state, "values": [0.5],
            "duplicate_of": {"number": 4, "host": "h2"},
        }
    ]  # fmt: skip


async def test_nothing_is_told_of_a_duplicate_without_a_trial() -> None:
    duplicate = Duplicate(twin=TWIN, action=Action.RESAMPLE, candidate=CANDIDATE)
    assert await told(duplicate=(duplicate,)) == []


async def test_each_aborted_trial_is_told() -> None:
    assert await told(aborted=([7, 9],)) == [
        {"event": "trial-ended", "trial": n, "state": "FAIL", "values": None, "failure": {"cause": "aborted"}}
        for n in (7, 9)
    ]
