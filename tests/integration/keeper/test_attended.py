"""One run, and all that a daemon hears of it, sooner or later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tuned.domain.ending import Ending, Pruning
from tuned.keeper import protocol
from tuned.keeper.attended import Attended
from tuned.trial.curve import Curve


@dataclass
class Line:
    """The way to a daemon."""

    is_connected: bool = True
    is_clogged: bool = False
    sent: list[protocol.ToDaemon] = field(default_factory=list)

    def send(self, message: protocol.ToDaemon) -> None:
        if self.is_connected:
            self.sent.append(message)


def attended(line: Line) -> Attended:
    return Attended(key="k", context={"a": 1}, service=line, is_judged=True).watching(0)


async def test_reports_of_one_moment_are_one_message() -> None:
    line = Line()
    run = attended(line)
    for step in (1, 2):
        run.watcher().curve.put(step, (0.5,))
    await asyncio.sleep(0)
    assert line.sent == [{"kind": "reports", "key": "k", "reports": [(1, [0.5]), (2, [0.5])]}]


async def test_without_a_daemon_nothing_is_gathered_but_the_curve() -> None:
    line = Line()
    run = attended(line)
    run.watcher().curve.put(1, (0.5,))
    line.is_connected = False
    run.leave_alone()
    run.watcher().curve.put(2, (0.25,))
    assert not run.reports
    found = Curve()
    found.restore(run.kept()["curve"])
    assert (found.values, found.newest) == ({1: 0.5, 2: 0.25}, (2, 0.25))
    await asyncio.sleep(0)
    assert line.sent == []


async def test_a_question_waits_for_the_daemon_that_answers_it() -> None:
    line = Line(is_connected=False)
    run = attended(line)
    asking = asyncio.ensure_future(run.watcher().answer("study"))
    await asyncio.sleep(0)
    assert run.kept()["question"] == "study"
    run.heed({"kind": "reply", "key": "k", "answer": 7})
    assert await asking == 7
    assert run.kept()["question"] is None


async def test_a_rules_word_is_kept_until_it_is_withdrawn() -> None:
    line, pruning = Line(), Pruning(rule="median", step=3, value=0.5)
    run = attended(line)
    run.heed({"kind": "prune", "key": "k", "pruning": pruning})
    assert run.kept()["pruning"] == pruning
    run.verdict.withdraw()
    assert run.kept()["pruning"] is None
    assert line.sent == [{"kind": "withdrawn", "key": "k"}]


async def test_a_record_has_all_that_the_run_had() -> None:
    line = Line()
    run = attended(line)
    run.watcher().curve.put(1, (0.5,))
    task = asyncio.ensure_future(asyncio.sleep(0, Ending(values=(1.0,))))
    await task
    run.heed({"kind": "note", "key": "k", "notes": {"completed_rung_0": 0.5}})
    run.conclude(run.last_of(task))
    again = Attended.recorded(protocol.recorded(protocol.record(run.kept())), line)
    one, other = run.kept(), again.kept()
    assert one["seconds"] == pytest.approx(other["seconds"], abs=5)
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
