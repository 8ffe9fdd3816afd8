"""The smallest host that the control socket can serve: one experiment, held in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from tuned.control import host as host_module
from tuned.control import metrics, routes
from tuned.control.metrics import Endings, Local, Peer
from tuned.control.server import Limits
from tuned.disk.checkup import Space
from tuned.domain.ending import Cause
from tuned.domain.states import HostCommand
from tuned.errors import Conflict, DatabaseAway, NotFound
from tuned.events import Events
from tuned.protocol.disk import CleanView, KeepView, RemovedView
from tuned.protocol.experiments import (
    Counts,
    DeletedView,
    ExperimentSummary,
    ExperimentView,
    ReplacedView,
    RetryView,
)
from tuned.protocol.fields import HostStateName, Params, StudyStateName, TrialStateName
from tuned.protocol.fleet import FindingView, FixedView, HostReply, HostView
from tuned.protocol.host import Status
from tuned.protocol.tables import DistributionView, ExportedTrial, ExportView, ImportedView
from tuned.protocol.trials import (
    BestsView,
    BestView,
    ImprovementsView,
    RevisionView,
    StoryView,
    TrialView,
)


def a_summary(name: str = "minima", **changes: object) -> ExperimentSummary:
    summary = ExperimentSummary(
        name=name,
        state="open",
        note="",
        ended_by=None,
        origin="",
        is_paused_here=False,
        priority=0,
        directions=["maximize"],
        running=1,
        counts=a_count(complete=40, reused=2, failed=3, skipped=1, running=2),
        trials=46,
        trials_limit=100,
        evaluations=43,
        evaluations_limit=None,
        seconds_left=None,
        target=None,
        stalled=0,
        stalled_limit=None,
        space_size=1024,
        visited=43,
        started="2025-01-31T12:00:00+00:00",
        best=BestView(number=17, values=[0.9731], params=a_point(), host="alpha", constraints={}),
        nearest=None,
    )
    summary.update(changes)  # type: ignore[typeddict-item]
    return summary


def a_count(**changes: int) -> Counts:
    counts = Counts(complete=0, reused=0, failed=0, skipped=0, pruned=0, running=0, waiting=0)
    counts.update(changes)  # type: ignore[typeddict-item]
    return counts


def a_cleaning(**changes: object) -> CleanView:
    view = CleanView(
        keep=KeepView(output_seconds=2592000.0, points_seconds=604800.0, size_bytes=20 * 2**30),
        removed=[
            RemovedView(experiment="old", part="output", count=12, size_bytes=3 * 2**20, rule="age"),
            RemovedView(experiment="old", part="checkpoints", count=1, size_bytes=2**31, rule="size"),
        ],
        freed_bytes=2**31 + 3 * 2**20,
        left_bytes=4096,
        problems=[],
    )
    view.update(changes)  # type: ignore[typeddict-item]
    return view


def a_point() -> Params:
    return {"minima_size": 16, "lr": 0.001, "optimizer": "adam"}


def a_trial(number: int, **changes: object) -> TrialView:
    trial = TrialView(
        number=number,
        state="COMPLETE",
        params=a_point(),
        values=[0.5],
        host="alpha",
        duplicate_of=None,
        failure=None,
        pruned=None,
        started="2025-01-31T12:00:00+00:00",
        ended="2025-01-31T12:01:30+00:00",
        seconds=90.0,
        attempt=1,
        report=None,
        constraints={},
    )
    trial.update(changes)  # type: ignore[typeddict-item]
    return trial


def a_row(trial: TrialView) -> ExportedTrial:
    return ExportedTrial(
        number=trial["number"],
        state=trial["state"],
        values=trial["values"],
        started=trial["started"],
        ended=trial["ended"],
        params=trial["params"],
        constraints=trial["constraints"],
        user_attrs={"note": '"sesame"'},
    )


def distributions() -> list[DistributionView]:
    """Of the parameters of ``a_point``."""
    ranges = {
        "lr": {"low": 0.0001, "high": 1.0, "log": True, "step": None},
        "minima_size": {"low": 1, "high": 64, "log": False, "step": 1},
        "optimizer": {"choices": ["adam", "sgd"]},
    }
    kinds = {
        "lr": "FloatDistribution",
        "minima_size": "IntDistribution",
        "optimizer": "CategoricalDistribution",
    }
    return [
        {"name": name, "distribution": json.dumps({"name": kinds[name], "attributes": attributes})}
        for name, attributes in ranges.items()
    ]


def a_host(name: str = "alpha", **changes: object) -> HostView:
    host = HostView(
        name=name,
        state="running",
        slots=2,
        gpus=0,
        labels=[],
        off=None,
        resting=[],
        running=1,
        beat_age_seconds=3.0,
        version="0.1.0",
        optuna_version="5.0.0",
        unreadable="",
    )
    host.update(changes)  # type: ignore[typeddict-item]
    return host


def a_story(trial: TrialView, **changes: object) -> StoryView:
    story = StoryView(
        trial=trial,
        origin="sampler",
        sampler="tpe",
        revision=1,
        revision_now=1,
        code=None,
        replacement=None,
        retried=[{"cause": "signal", "message": "printed: sesame"}],
        replicates=None,
        late_of=None,
        adoptions=0,
        reported=0,
        reports=[],
        point={"state": "done", "trial": trial["number"], "host": "alpha", "late_of": None, "losses": 0},
        output=None,
    )
    story.update(changes)  # type: ignore[typeddict-item]
    return story


def a_revision(number: int = 2, **changes: object) -> RevisionView:
    revision = RevisionView(
        revision=number,
        since="2025-01-31T12:00:30+00:00",
        user="ann",
        host="alpha",
        changes=["objective.workdir: /srv/sesame, was not set (on alpha)"],
    )
    revision.update(changes)  # type: ignore[typeddict-item]
    return revision


def a_status(**changes: object) -> Status:
    status = Status(
        host="alpha",
        state="running",
        version="0.1.0",
        pid=4711,
        is_service=True,
        uptime_seconds=7384.0,
        isolation="cgroup",
        limits=["memory", "cpus", "pids"],
        trials_user="tuned-trials",
        gpus=[],
        hours=[],
        off=None,
        spool="/var/spool/tuned",
        database={
            "url": "sqlite:////var/lib/tuned/tuned.db",
            "reachable": True,
            "message": None,
            "pending_results": 0,
        },
        slots=[
            {
                "slot": 0,
                "running": {
                    "experiment": "minima",
                    "trial": 46,
                    "replicate": 1,
                    "replicates": 1,
                    "attempt": 1,
                    "seconds": 75.0,
                    "report": None,
                    "gpus": [],
                    "is_adopted": False,
                },
            },
            {"slot": 1, "running": None},
        ],
        experiments=[a_summary()],
        warnings=[],
    )
    status.update(changes)  # type: ignore[typeddict-item]
    return status


def a_local() -> Local:
    peers = [
        Peer(name="beta", is_alive=True, age_seconds=3.0),
        Peer(name="gamma", is_alive=False, age_seconds=99.0),
    ]
    space = Space(free_bytes=2**30, size_bytes=2**40)
    return Local(experiment_states={"minima": "working"}, space=space, peers=peers)


def a_finding(**changes: object) -> FindingView:
    finding = FindingView(
        kind="fault",
        code="unheld-trials",
        what="trials of minima are RUNNING and no host holds them: 3, 7",
        why="they never end by themselves",
        remedy="end them in the database",
        is_fixable=True,
    )
    finding.update(changes)  # type: ignore[typeddict-item]
    return finding


class SmallHost:
    """Answers from its attributes; tests change them."""

    def __init__(self, *, queue_length: int = 1000) -> None:
        self.events = Events("alpha", queue_length=queue_length)
        self.summary = a_summary()
        self.all_trials = [a_trial(number) for number in range(250)]
        self.host_state: HostStateName = "running"
        self.spool = "/var/spool/tuned"
        self.bug: Exception | None = None
        #: Its database comes while a request waits for it; how long each was ready to.
        self.is_away = False
        self.waited: list[float] = []
        #: Set when a change begins; a change ends when ``may_change`` is set.
        self.is_changing = asyncio.Event()
        self.may_change = asyncio.Event()
        self.may_change.set()
        self.open_logs = 0
        #: Of the last request for a log.
        self.tail: int | None = None
        self.definition: dict[str, Any] = {"direction": "maximize"}
        self.output = [b"epoch 1\n", b"epoch 2\n"]
        self.replacement = b""
        #: The user who sent it.
        self.replaced_by = ""
        #: Whether the experiment was deleted, and by force.
        self.deleted: bool | None = None
        #: Of which experiment, or of all, and whether nothing was to be removed.
        self.cleaned: list[tuple[str | None, bool]] = []
        self.cleaning = a_cleaning()
        self.findings: list[FindingView] = []
        self.imported = b""

    async def reach_database(self, seconds: float) -> None:
        if self.is_away:
            self.waited.append(seconds)
            self.is_away = seconds == 0
        if self.is_away:
            raise DatabaseAway("the database is being prepared")

    async def status(self, *, has_output: bool = False) -> Status:
        if self.bug:
            raise self.bug
        status = a_status(state=self.host_state, experiments=[self.summary], spool=self.spool)
        if has_output and (run := status["slots"][0]["running"]):
            run["last_line"] = "printed: sesame"
        return status

    async def metrics(self) -> bytes:
        return metrics.render(await self.status(), a_local(), Endings())

    async def experiments(self) -> Sequence[ExperimentSummary]:
        if self.is_away:
            raise DatabaseAway("the database is being prepared")
        return [self.summary]

    async def experiment(self, name: str) -> ExperimentView:
        self._require(name)
        failure = {"cause": "exit", "message": "printed: sesame"}
        return ExperimentView(
            summary=self.summary,
            hosts=[{"host": "alpha", "counts": self.summary["counts"]}],
            sampler={"name": "tpe", "seed": 42, "options": {}},
            definition=self.definition,
            parallel=None,
            resources=None,
            file="/var/spool/tuned/active/minima.toml",
            outputs="/var/lib/tuned/trials/minima-0123abcd",
            failures=[a_trial(9, state="FAIL", values=None, failure=failure)],
            running=[],
            revisions=[a_revision()],
            env={"TOKEN": "sesame"},
        )

    async def trials(
        self,
        name: str,
        *,
        state: TrialStateName | None,
        before: int | None,
        limit: int,
        is_by_value: bool = False,
    ) -> Sequence[TrialView]:
        self._require(name)
        fit = [t for t in self.all_trials if state in {None, t["state"]}]
        if is_by_value:
            return sorted(fit, key=lambda t: t["values"] or [])[:limit]
        return [t for t in reversed(fit) if before is None or t["number"] < before][:limit]

    async def story(self, name: str, number: int) -> StoryView:
        self._require(name)
        return a_story(self.all_trials[number])

    async def best(self, name: str, limit: int | None = None) -> BestsView:
        self._require(name)
        best, nearest = self.summary["best"], self.summary["nearest"]
        return {"best": [] if best is None else [best] * (limit or 1), "nearest": nearest}

    async def improvements(self, name: str) -> ImprovementsView:
        self._require(name)
        return {"improvements": [{"number": 0, "value": 0.25}, {"number": 17, "value": 0.9731}]}

    async def logs(
        self, name: str, number: int | None, *, follow: bool, is_setup: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        self._require(name)
        self.tail = tail
        if number is not None and number >= len(self.all_trials):
            raise NotFound(f"cannot show output of trial {number} of {name}: there is no such trial")
        return self._output(follow=follow)

    async def _output(self, *, follow: bool) -> AsyncGenerator[bytes, None]:
        self.open_logs += 1
        try:
            for index, piece in enumerate(self.output):
                if index and follow:
                    await asyncio.Event().wait()
                yield piece
                # One at a time, as a trial writes it.
                await asyncio.sleep(0)
        finally:
            self.open_logs -= 1

    async def hosts(self) -> Sequence[HostView]:
        return [a_host(), a_host("beta", state="stopped", slots=8, running=0)]

    async def forget(self, name: str) -> Sequence[HostView]:
        if name == "alpha":
            raise Conflict(f"cannot forget host {name}: it is alive")
        return [a_host()]

    async def drain(self) -> HostStateName:
        self.host_state = "draining"
        self.events.publish("host-state", state="draining")
        return self.host_state

    async def restart(self) -> HostStateName:
        return self.host_state

    async def abort(self) -> HostStateName:
        self.host_state = "aborting"
        return self.host_state

    async def command(self, host: str, command: HostCommand, user: str) -> HostReply:
        if host == "gamma":
            raise Conflict(f"cannot {command} host {host}: it is dead or has stopped; see: tunectl hosts")
        del user
        return HostReply(host=host, state="running" if command == "restart" else "draining", seen_seconds=1.5)

    async def cancel(self, name: str, user: str) -> ExperimentSummary:
        self.summary["ended_by"] = f"cancelled by {user}"
        return await self._become(name, "cancelled")

    async def pause(self, name: str) -> ExperimentSummary:
        return await self._become(name, "paused")

    async def resume(self, name: str) -> ExperimentSummary:
        return await self._become(name, "open")

    async def retry(self, name: str, cause: Cause | None) -> RetryView:
        self._require(name)
        freed = 3 if cause is None else 1
        return {"freed": freed, "experiment": self.summary, "is_full": False, "runs_here": True}

    async def replace(self, name: str, content: bytes, user: str, *, code_of: int | None) -> ReplacedView:
        self._require(name)
        self.replacement, self.replaced_by = content, user
        changes = ["budget.trials: 100, was 50"]
        return {"experiment": self.summary, "is_full": False, "runs_here": True, "changes": changes}

    async def export(self, name: str, *, after: int, limit: int, has_reports: bool) -> ExportView:
        self._require(name)
        page = [a_row(t) for t in self.all_trials if t["number"] > after][:limit]
        if has_reports:
            for row in page:
                row["reports"] = [{"step": 0, "value": 0.75}, {"step": 1, "value": 0.5}]
        following = page[-1]["number"] if len(page) == limit else None
        return {
            "directions": ["maximize"],
            "distributions": distributions(),
            "trials": page,
            "after": following,
        }

    async def import_rows(self, name: str, rows: bytes) -> ImportedView:
        self._require(name)
        self.imported = rows
        lines = len(rows.splitlines())
        return {"imported": lines - 1, "known": 0, "unfit": [{"row": lines - 1, "reason": "no lr"}]}

    async def delete(self, name: str, *, is_forced: bool) -> DeletedView:
        self._require(name)
        self.deleted = is_forced
        trials, self.summary["name"] = self.summary["trials"], "nothing"
        return {"name": name, "trials": trials}

    async def clean(self, name: str | None, *, is_dry: bool) -> CleanView:
        if name is not None:
            self._require(name)
        self.cleaned.append((name, is_dry))
        return self.cleaning

    async def doctor(self) -> Sequence[FindingView]:
        return self.findings

    async def fix(self) -> FixedView:
        fixed, self.findings = [each["what"] for each in self.findings if each["is_fixable"]], []
        return {"fixed": fixed, "findings": self.findings}

    async def _become(self, name: str, state: StudyStateName) -> ExperimentSummary:
        self._require(name)
        if self.summary["state"] in {"done", "cancelled"}:
            raise Conflict(f"cannot make {name} {state}: it is {self.summary['state']}")
        self.is_changing.set()
        await self.may_change.wait()
        self.summary["state"] = state
        self.events.publish("experiment-state", experiment=name, state=state)
        return self.summary

    def _require(self, name: str) -> None:
        if name != self.summary["name"]:
            raise NotFound(f"cannot find experiment {name}: there is none of this name")


@contextlib.asynccontextmanager
async def served(
    host: host_module.Host, path: Path, *, mode: int = 0o666, **limits: float
) -> AsyncIterator[None]:
    async with routes.serve(host, path, mode=mode, limits=Limits(**limits)):  # type: ignore[arg-type]
        yield
