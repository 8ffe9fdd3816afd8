"""The judge of a host's running trials: what it asks their rules, and when it decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.factories import Member, join, line, linked, make_experiment, statements
from tests.postgres import PostgresServer
from tests.waiting import until_async
from tuned.daemon.trials import judge as judge_module
from tuned.daemon.trials.judge import Case, Judge
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Pruning
from tuned.events import Events
from tuned.search.pruning import PruningStudy
from tuned.search.search import Search
from tuned.storage.link import Link
from tuned.trial.curve import Curve
from tuned.trial.evaluation import Evaluation, Site
from tuned.trial.keeping import Verdict

RULE = '[pruner]\nname = "threshold"\nupper = 1.0'


@dataclass(kw_only=True)
class Court:
    """A judge, and trials that report to it without a process."""

    link: Link
    judge: Judge
    search: Search
    member: Member
    state: StateDirectory
    #: Of runs, for another daemon.
    notes: dict[str, Mapping[str, object]]
    taken: int = 0

    async def case(self) -> Case:
        claimed = await asyncio.to_thread(self.member.take, self.taken)
        self.taken += 1
        trial = Evaluation(
            experiment=self.search.experiment, definition="", study_uid=self.search.status.uid,
            claimed=claimed, slot=0, key=f"{claimed.claim_id}-1-1",
            site=Site(host="h1", state=self.state, cgroups=None, grace_seconds=0.0),
            carry_out=None,  # type: ignore[arg-type]
        )  # fmt: skip
        case = self.judge.open(self.search, trial)
        assert case is not None
        # As its attempt begins.
        trial.curve = Curve(trial.on_report)
        return case

    def report(self, case: Case, *values: float) -> None:
        for value in values:
            case.evaluation.curve.put(case.evaluation.curve.steps, (value,))

    async def quiet(self) -> None:
        await until_async(lambda: self.judge.is_idle, what="the judge to have nothing left to do")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a round may take so long that the judge rests after it."""
    monkeypatch.setattr(judge_module, "SHARE", 1e9)


@asynccontextmanager
async def sitting(url: str, home: Path, rule: str = RULE) -> AsyncIterator[Court]:
    experiment = make_experiment(rule, space=line(100))
    async with linked(url) as link:
        with StateDirectory.open(home / "state") as state:
            member = await asyncio.to_thread(join, link.database, experiment)
            search = await Search.begin(
                link, Events("h1"), experiment, encoding=member.encoding, status=member.status,
                claimant=member.claimant, file="exp",
            )  # fmt: skip
            notes: dict[str, Mapping[str, object]] = {}
            judge = Judge(link, lambda key, rungs: notes.update({key: dict(rungs)}))
            yield Court(notes=notes, link=link, judge=judge, search=search, member=member, state=state)
            await judge.end()


async def test_each_trial_is_judged_by_its_own_reports(database_url: str, tmp_path: Path) -> None:
    async with sitting(database_url, tmp_path) as court:
        good, bad = await court.case(), await court.case()
        court.report(good, 0.5, 0.75)
        court.report(bad, 0.5, 1.5, 2.5)
        await bad.verdict.given()
        await court.quiet()
        assert bad.verdict.pruning == Pruning(rule="threshold", step=1, value=1.5, bound=1.0)
        assert good.verdict.pruning is None
        assert [await court.judge.is_to_end(case) for case in (good, bad)] == [False, True]


async def test_a_trial_that_asks_is_answered_by_all_that_it_has_reported(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with sitting(sqlite_url, tmp_path) as court:
        case = await court.case()
        for value in (0.5, 0.75, 1.5):
            court.report(case, value)
            assert await court.judge.is_to_end(case) is (value == 1.5)


async def test_a_trial_that_is_to_end_costs_no_statement_more(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_module, "SYNC_SECONDS", 0.0)
    async with sitting(sqlite_url, tmp_path) as court:
        case = await court.case()
        court.report(case, 1.5)
        await case.verdict.given()
        await court.quiet()
        with statements(court.member.database) as seen:
            court.report(case, 2.5)
            await court.quiet()
        assert seen == []


async def test_the_reports_of_an_attempt_that_crashed_do_not_count(sqlite_url: str, tmp_path: Path) -> None:
    async with sitting(sqlite_url, tmp_path) as court:
        case = await court.case()
        court.report(case, 1.5)
        case.evaluation.verdict = Verdict()
        court.report(case, 0.5)
        await court.quiet()
        assert case.evaluation.verdict.pruning is None


async def test_rungs_go_to_the_trial_and_count_for_the_others_at_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    rule = '[pruner]\nname = "successive-halving"\nmin_resource = 1\nreduction_factor = 2'
    async with sitting(sqlite_url, tmp_path, rule) as court:
        good, bad = await court.case(), await court.case()
        court.report(good, 0.5, 0.25)
        assert not await court.judge.is_to_end(good)
        court.report(bad, 1.5, 1.5)
        assert await court.judge.is_to_end(bad)
        rungs = [case.evaluation.system_attrs for case in (good, bad)]
        assert rungs == [{"completed_rung_0": 0.25}, {"completed_rung_0": 1.5}]
        assert [court.notes[case.evaluation.key] for case in (good, bad)] == rungs


async def test_while_the_database_is_away_trials_go_on_and_nobody_waits(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with sitting(postgres.create_database(), tmp_path) as court:
        case = await court.case()
        postgres.stop()
        court.report(case, 1.5)
        assert not await court.judge.is_to_end(case)
        assert case.verdict.pruning is None
        postgres.start()
        await case.verdict.given()


async def test_a_judge_that_has_taken_its_time_rests_and_keeps_nobody_waiting(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sitting(sqlite_url, tmp_path) as court:
        case = await court.case()
        court.report(case, 0.5)
        await court.quiet()
        monkeypatch.setattr(judge_module, "SHARE", 1e-9)
        court.report(case, 0.5)
        await until_async(lambda: court.judge.must_rest, what="the judge to rest")
        court.report(case, 1.5)
        assert not await court.judge.is_to_end(case)


async def test_a_rule_that_fails_ends_no_trial_and_is_told_once(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Optuna raised this")

    async with sitting(sqlite_url, tmp_path) as court:
        case = await court.case()
        monkeypatch.setattr(PruningStudy, "judge", fail)
        with capture_logs() as logs:
            for _ in range(2):
                court.report(case, 1.5)
                await court.quiet()
        assert [log["event"] for log in logs if log["log_level"] == "error"] == [
            "no trial is pruned on this host"
        ]
        monkeypatch.undo()
        court.report(case, 1.5)
        await case.verdict.given()
