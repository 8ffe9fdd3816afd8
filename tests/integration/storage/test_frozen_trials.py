"""A trial that this host noted is, field by field, the one that is read back from the database."""

from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.factories import CRASH, MIXED, Member, join, make_experiment
from tuned.storage.database import Database
from tuned.storage.history import History
from tuned.storage.trials.tells import tell

POINT: dict[str, Any] = {"size": 3, "rate": 0.6, "kind": True}

#: Values and the rest of an ending.
ENDINGS: dict[str, tuple[tuple[float, ...], dict[str, Any]]] = {
    "value": ((0.1 + 0.2,), {"intermediate": {3: math.nan, 1: -math.inf}}),
    "failed": ((), {"user_attrs": {"note": '["ü", 1e400]', "FAILURE": "7"}}),
    "retried": ((math.inf,), {"retried": (CRASH, CRASH)}),
    "pruned": ((0.5,), {"is_pruned": True, "intermediate": {0: 0.5}}),
    "rungs": ((0.5,), {"intermediate": {0: 0.5}, "system_attrs": {"completed_rung_0": "0.5"}}),
    "constraints": ((0.5,), {"constraints": {"b": 0.1, "a": -1.0}}),
    "pruned, no report": ((), {"is_pruned": True}),
}


def fields(trial: FrozenTrial) -> dict[str, str]:
    """As text, because NaN is not equal to itself; the order of attributes says nothing."""
    return {
        name: repr(sorted(value.items()) if isinstance(value, dict) else value)
        for name, value in vars(trial).items()
    }


def read_back(member: Member) -> list[dict[str, str]]:
    return [fields(trial) for trial in member.trials()]


def known(history: History) -> list[dict[str, str]]:
    history.sync()
    return [fields(trial) for trial in history.trials]


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("is_seen_running", [True, False])
def test_a_noted_trial_is_the_one_that_is_read(
    database: Database, ending: tuple[tuple[float, ...], dict[str, Any]], is_seen_running: bool
) -> None:
    member = join(database, make_experiment(space=MIXED))
    history = member.history()
    claimed = member.take(**POINT, attributes={"nsga2:generation": 1, "b": [1, {"a": None}]})
    history.note_begun(member.encoding.beginning(claimed), member.claimant.host)
    if is_seen_running:
        assert known(history) == read_back(member)
    values, rest = ending
    result = member.result(claimed, *values, **rest)
    history.note_ended(result.claim_id, result.ending)
    tell(database, result)
    assert known(history) == read_back(member)


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_a_trial_that_has_ended_here_is_known_before_it_is_told(
    database: Database, state: TrialState
) -> None:
    member = join(database, make_experiment('directions = ["minimize", "maximize"]', space=MIXED))
    history = member.history()
    is_pruned = state is TrialState.PRUNED
    result = member.result(member.take(**POINT), 1.0, 2.0, intermediate={1: 0.5}, is_pruned=is_pruned)
    history.note_ended(result.claim_id, result.ending)
    (before,) = known(history)
    tell(database, result)
    (after,) = known(history)
    assert history.trials[0].state is state
    assert {**before, "datetime_complete": ""} == {**after, "datetime_complete": ""}
