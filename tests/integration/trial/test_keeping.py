"""A verdict that comes while a trial runs: it ends the whole tree, unless there was a result before."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.daemon import is_alive
from tests.integration.trial.starting import run, run_with, serving
from tests.integration.trial.trees import pid_in, staying
from tests.waiting import until_async
from tuned.domain.ending import Cause, Ending, Pruning
from tuned.trial.curve import Curve
from tuned.trial.fork_servers import ServerProgram
from tuned.trial.keeping import Verdict
from tuned.trial.launch import Launch, Outputs
from tuned.trial.tree import Tree

pytestmark = pytest.mark.usefixtures("_subreaper")

PRUNING = Pruning(rule="median", step=1, value=0.5, bound=0.25)

REPORT = 'echo \'{"step": 1, "value": 0.5}\''


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(
        argv=("true",),
        environment={"PATH": os.environ["PATH"]},
        workdir=tmp_path,
        log=tmp_path / "output.log",
        timeout_seconds=60,
        objectives=1,
        pattern=None,
        mark=f"test/{tmp_path.name}",
        cgroups=None,
    )


async def judged(launch: Launch, script: str) -> Ending:
    """Runs a script of sh; its first report brings the verdict."""
    verdict = Verdict()
    given = Curve(lambda _: verdict.give(PRUNING))
    return await run(replace(launch, argv=("sh", "-c", script)), given, verdict=verdict)


async def test_the_whole_tree_ends_and_the_last_report_is_the_value(launch: Launch, tmp_path: Path) -> None:
    ending = await judged(launch, f"{staying(tmp_path / 'pid')} & {REPORT}; sleep 600")
    assert ending == Ending(values=(0.5,), is_pruned=True, pruning=PRUNING, intermediate={1: 0.5})
    assert not (tmp_path / "pid").exists() or not is_alive(pid_in(tmp_path / "pid"))


async def test_it_gets_sigterm_and_may_report_once_more_within_the_grace(launch: Launch) -> None:
    (launch.workdir / "last.sh").write_text('echo \'{"step": 2, "value": 0.75}\'; echo 3')
    script = f"trap 'sh last.sh; exit 0' TERM; {REPORT}; while :; do sleep 0.01; done"
    ending = await judged(replace(launch, grace_seconds=30), script)
    assert (ending.is_pruned, ending.values, ending.pruning) == (True, (0.75,), PRUNING)


async def test_a_trial_that_ignores_sigterm_is_killed(launch: Launch) -> None:
    ending = await judged(replace(launch, grace_seconds=0.2), f"trap '' TERM; {REPORT}; sleep 600")
    assert ending.pruning == PRUNING


@pytest.mark.parametrize("result", ["echo 0.25", "echo '{\"value\": 0.25}'"])
async def test_a_result_that_was_printed_before_wins(launch: Launch, result: str) -> None:
    # Both in one write.
    ending = await judged(launch, f'both=$({REPORT}; {result}); echo "$both"; sleep 0.2')
    assert (ending.is_pruned, ending.values, ending.pruning) == (False, (0.25,), None)


async def test_an_end_that_came_before_wins_also_if_nobody_has_seen_it_yet(launch: Launch) -> None:
    verdict = Verdict()
    verdict.give(PRUNING)
    async with serving(ServerProgram.of_commands()) as server:

        async def start(launch: Launch, outputs: Outputs) -> Tree:
            tree = await server.start(launch, outputs)
            await until_async(lambda: tree.has_ended, what="the process to end")
            return tree

        script = replace(launch, argv=("sh", "-c", "exit 3"))
        ending = await run_with(script, start, verdict=verdict)
    assert ending.failure
    assert (ending.failure.cause, ending.pruning) == (Cause.EXIT, None)


@pytest.mark.parametrize("pattern", [r"loss=(?P<value>\S+)", r"epoch (?P<step>\d+) loss=(?P<value>\S+)"])
async def test_matches_of_a_pattern_are_reports(launch: Launch, pattern: str) -> None:
    ending = await judged(replace(launch, pattern=pattern), "echo epoch 0 loss=0.5; sleep 600")
    assert ending == Ending(values=(0.5,), is_pruned=True, pruning=PRUNING, intermediate={0: 0.5})


async def test_of_several_objectives_the_last_report_is_whole(launch: Launch) -> None:
    ending = await judged(replace(launch, objectives=2), 'echo \'{"step": 4, "values": [1, 2]}\'; sleep 600')
    assert (ending.values, ending.is_pruned) == ((1.0, 2.0), True)


async def test_a_report_that_is_no_number_is_no_value(launch: Launch) -> None:
    ending = await judged(launch, 'echo \'{"step": 1, "value": NaN}\'; sleep 600')
    assert (ending.values, ending.pruning) == (None, PRUNING)
