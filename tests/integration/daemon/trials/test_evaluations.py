"""By which definition a trial is evaluated, here and after another daemon."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from unittest.mock import AsyncMock

from tests.factories import make_experiment
from tuned.daemon.trials.evaluations import Evaluations
from tuned.disk.state import StateDirectory
from tuned.domain.claim import Candidate, Claimed, Origin
from tuned.domain.ending import Ending
from tuned.keeper.runs import Runs
from tuned.search.adoption import Adoption
from tuned.trial.evaluation import Site, evaluate
from tuned.trial.progress import decode

if TYPE_CHECKING:
    from tuned.daemon.teller import Teller
    from tuned.daemon.trials.premises import Premises
    from tuned.domain.study_status import StudyStatus
    from tuned.search.search import Search
    from tuned.trial.keeping import Run, Watcher


async def test_a_trial_is_gone_on_with_by_the_definition_of_its_claim(tmp_path: Path) -> None:
    then, now = (make_experiment(f"[retry]\nattempts = {attempts}") for attempts in (1, 2))
    status = cast("StudyStatus", SimpleNamespace(uid="u", definition=then.definition(), revision=1))
    adoption = Adoption(then, status)
    search = cast("Search", SimpleNamespace(status=status, adoption=adoption, note_unforked=print))
    candidate = Candidate(point=then.space.at(0), origin=Origin.WALK, revision=1)
    claimed = Claimed(study_id=1, trial_id=1, number=7, replica=0, candidate=candidate, incarnation="i")
    replaced = SimpleNamespace(uid="u", definition=now.definition(), revision=2)
    adoption.follow(cast("StudyStatus", replaced))
    seen: list[Run] = []

    async def carry_out(run: Run, _: Watcher) -> Ending:
        seen.append(run)
        return Ending(values=(1.0,))

    with StateDirectory.open(tmp_path / "state") as state:
        site = Site(host="h", state=state, cgroups=None, grace_seconds=0)
        runs = Runs(1)
        teller, premises = cast("Teller", None), cast("Premises", None)
        evaluations = Evaluations(site, runs, teller, premises, lambda experiment: experiment)
        first = evaluations.of(search, 0, claimed, ())
        first.carry_out = carry_out
        await evaluate(first, AsyncMock())
        second = evaluations.resumed(decode(seen[0].context), 1, claimed, {})
        await runs.close()
    assert (first.experiment, second.experiment) == (then, then)
    assert (adoption.of(2), adoption.whole(2)) == (now, now.whole())
    assert second.slot == 1
