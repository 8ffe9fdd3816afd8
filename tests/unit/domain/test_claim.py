"""A claim's candidate and its ids."""

from __future__ import annotations

from tuned.domain.claim import Candidate, Claimed, Origin, new_claim_id
from tuned.domain.space import IntParameter, Space

POINT = Space((IntParameter(name="x", low=0, high=8),)).point({"x": 5})


def test_two_candidates_for_one_point_are_told_apart_by_their_claim_ids() -> None:
    one, other = (Candidate(point=POINT, origin=Origin.SAMPLER) for _ in range(2))
    assert one.point == other.point
    assert one.claim_id != other.claim_id


def test_claim_ids_are_of_the_length_that_their_column_has() -> None:
    given = Candidate(point=POINT, origin=Origin.WALK).claim_id
    assert [len(each) for each in (given, new_claim_id())] == [32, 32]


def test_the_point_of_a_claim_is_that_of_its_candidate() -> None:
    candidate = Candidate(point=POINT, origin=Origin.SAMPLER)
    claimed = Claimed(study_id=1, trial_id=1, number=0, replica=0, candidate=candidate, incarnation="first")
    assert claimed.point is POINT
