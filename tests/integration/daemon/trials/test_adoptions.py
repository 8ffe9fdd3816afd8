"""Trials of an earlier daemon: which run goes on in a slot, which is ended, and which result is told late."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import pytest

from tests.factories import make_experiment
from tuned.daemon.trials.adoptions import Adoptions
from tuned.domain.claim import Claimant, Claimed, Origin
from tuned.domain.ending import Failure
from tuned.storage.trials.adoption import Adopted
from tuned.trial.keeping import Keeper, Kept
from tuned.trial.progress import Progress, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tuned.experiment.experiment import Experiment
    from tuned.search.search import Search
    from tuned.trial.evaluation import Evaluation

PROGRESS = Progress(
    experiment="exp", definition=make_experiment().whole(), study_uid="u", study_id=1, trial_id=2,
    number=3, replica=0, claim_id="c", claimed_at=1.0, origin=Origin.SAMPLER, values={"x": 1}, point_key="k",
)  # fmt: skip

OURS = Adopted(claim_id="c", trial_id=20, number=30)

CLAIMANT = Claimant(host="h1", incarnation="new")


@dataclass
class Runs:
    """The runs of a keeper, and how they ended."""

    found: dict[str, Kept]
    ended: list[str] = field(default_factory=list)
    on_end: Callable[[], object] = lambda: None

    def kept(self) -> list[Kept]:
        return [*self.found.values()]

    async def end(self, key: str) -> None:
        self.ended.append(key)
        self.on_end()


@dataclass
class Slots:
    adopted: list[tuple[Progress, Claimed, float]] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)

    def adopt(self, search: Search, progress: Progress, claimed: Claimed, kept: Kept) -> None:
        del search
        self.adopted.append((progress, claimed, kept.seconds))

    async def give_back(self, claimed: Claimed, failure: Failure) -> None:
        del failure
        self.given_back.append(claimed.claim_id)


@dataclass
class Made:
    """An evaluation, as far as a run that has not ended needs one."""

    experiment: Experiment

    def resumed(
        self, progress: Progress, slot: int, claimed: Claimed, notes: Mapping[str, object]
    ) -> Evaluation:
        del progress, slot, claimed, notes
        return cast("Evaluation", self)

    def hand_over(self, *_: object) -> None:
        raise AssertionError


def a_run(progress: Progress | None = PROGRESS, *, key: str = "c-1-1") -> dict[str, Kept]:
    context = None if progress is None else encode(progress)
    return {key: Kept(key=key, context=context, seconds=7.0, has_ended=False)}


async def looked(found: dict[str, Kept], safe: tuple[str, ...] = ()) -> tuple[Adoptions, Runs, Slots]:
    runs, slots = Runs(found), Slots()
    adoptions = Adoptions(cast("Keeper", runs), slots, Made(make_experiment()), "h1")
    await adoptions.look(safe)
    return adoptions, runs, slots


@dataclass
class Status:
    uid: str = "u"


@dataclass
class Opened:
    status: Status = field(default_factory=Status)


def search(uid: str = "u") -> Search:
    return cast("Search", Opened(Status(uid)))


async def test_a_run_whose_claim_was_taken_over_goes_on_once_its_experiment_is_open() -> None:
    adoptions, runs, slots = await looked(a_run())
    assert adoptions.claims == {"c"}
    adoptions.take_over([OURS], CLAIMANT)
    await adoptions.admit(search("another"))
    assert not slots.adopted
    await adoptions.admit(search())
    [(progress, claimed, seconds)] = slots.adopted
    assert (progress, seconds, runs.ended) == (PROGRESS, 7.0, [])
    # The database may have given the trial another number.
    assert (claimed.incarnation, claimed.trial_id, claimed.number) == ("new", 20, 30)
    assert adoptions.claims == set()


async def test_all_that_goes_on_has_its_slot_before_another_run_is_killed() -> None:
    other = replace(PROGRESS, claim_id="d")
    adoptions, runs, slots = await looked(a_run(other, key="d-1-1") | a_run())
    adoptions.take_over([OURS], CLAIMANT)
    seen = []
    runs.on_end = lambda: seen.append(len(slots.adopted))
    await adoptions.admit(search())
    assert (runs.ended, seen) == (["d-1-1"], [1])


async def test_of_two_attempts_at_one_trial_the_later_one_goes_on() -> None:
    later = replace(PROGRESS, attempt=2)
    adoptions, runs, slots = await looked(a_run(later, key="c-1-2") | a_run())
    adoptions.take_over([OURS], CLAIMANT)
    await adoptions.admit(search())
    assert (runs.ended, [progress for progress, *_ in slots.adopted]) == (["c-1-1"], [later])


@pytest.mark.parametrize("progress", [None, PROGRESS], ids=["no trial's", "its result is on the disk"])
async def test_a_run_that_nobody_needs_is_ended(progress: Progress | None) -> None:
    adoptions, runs, _ = await looked(a_run(progress), safe=("c",))
    assert (adoptions.claims, runs.ended) == (set(), ["c-1-1"])


async def test_a_trial_whose_experiment_is_not_expected_is_killed_and_given_back() -> None:
    adoptions, runs, slots = await looked(a_run())
    adoptions.take_over([OURS], CLAIMANT)
    await adoptions.give_up(lambda name: name == "exp")
    assert adoptions.claims == {"c"}
    await adoptions.give_up(lambda _: False)
    assert (adoptions.claims, runs.ended, slots.given_back) == (set(), ["c-1-1"], ["c"])


async def test_after_another_join_what_was_taken_over_before_is_not_ours() -> None:
    adoptions, runs, slots = await looked(a_run())
    adoptions.take_over([OURS], CLAIMANT)
    adoptions.take_over([], CLAIMANT)
    await adoptions.give_up(lambda _: False)
    assert (runs.ended, slots.given_back) == (["c-1-1"], [])
