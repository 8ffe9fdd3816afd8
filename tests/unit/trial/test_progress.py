"""How far an evaluation has come, as its keeper keeps it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tuned.domain.claim import Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.trial.progress import Progress, decode, encode

PROGRESS = Progress(
    experiment="e", definition="{}", study_uid="u", study_id=1, trial_id=2, number=3, replica=0,
    claim_id="c", claimed_at=1.5, system_attrs={"completed_rung_0": 0.5},
    origin=Origin.SAMPLER, values={"i": 1, "f": 1.0, "s": "1", "b": True}, point_key="k",
    attributes={"a": "[1, Infinity]"}, waiting_trial=None, revision=2, slot=4, cards=("0",),
    replicate=2, attempt=3, evaluations=5, ended=4,
    retried=(Failure(cause=Cause.EXIT, message="exit status 3 \udcff", detail={"status": 3}),),
    endings=(Ending(values=(1.0, float("-inf")), intermediate={1: 2.0}),),
)  # fmt: skip


def test_it_is_the_same_after_its_way_to_the_keeper_and_back() -> None:
    found = decode(json.loads(json.dumps(encode(PROGRESS))))
    [failure] = found.retried
    assert failure.message == "exit status 3 ?"
    assert found == replace(PROGRESS, retried=found.retried)
    assert [type(value) for value in found.values.values()] == [int, float, str, bool]


def test_its_claim_is_that_of_the_incarnation_that_holds_it_now() -> None:
    claimed = PROGRESS.claimed("new", trial_id=9, number=8)
    assert (claimed.claim_id, claimed.incarnation, claimed.trial_id, claimed.number) == ("c", "new", 9, 8)
    assert claimed.candidate.attributes == {"a": [1, float("inf")]}
    assert (claimed.point.key, dict(claimed.point.values)) == ("k", PROGRESS.values)


@pytest.mark.parametrize("context", [None, 7, {}, {"experiment": "e"}])
def test_another_context_is_none(context: object) -> None:
    with pytest.raises(ValueError, match="Progress"):
        decode(context)
