"""The messages between the daemon and the keeper, as they are after the way over the socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tests.integration.keeper.running import a_run
from tuned.domain.ending import Cause, Ending, Failure, Pruning
from tuned.domain.resources import Limits
from tuned.keeper import protocol
from tuned.trial.cgroup import Root
from tuned.trial.fork_servers import ServerProgram
from tuned.trial.keeping import Run
from tuned.trial.launch import Launch

#: If a message of this version changes, its number must change with it.
RECORDED = Path(__file__).parent / f"version_{protocol.VERSION}"

LAUNCH = Launch(
    argv=("train", "\udcff"), environment={"A": "1"}, workdir=Path("/work"), log=Path("/log"),
    timeout_seconds=1.5, objectives=2, pattern="x", mark="i/c",
    cgroups=Root(Path("/groups"), frozenset({"pids", "memory"})), limits=Limits(memory=2**30, pids=9),
    directories=(Path("/work"), Path("/point")), removed_if_empty=(Path("/point"),), grace_seconds=2.0,
    heading="replicate 1 of 2", is_objective=True,
)  # fmt: skip

PROGRAM = ServerProgram(argv=("python", "-m", "x"), environment={"B": "2"}, workdir="/", imports="m:f")

RUN = Run(key="c-1-1", launch=LAUNCH, study="u", program=PROGRAM, fields={"trial": 7, "experiment": "e"})


@pytest.mark.parametrize("run", [RUN, a_run(Path("/home"), "true")], ids=["all of it", "a command"])
def test_a_run_is_the_same_on_the_other_side(run: Run) -> None:
    begin: protocol.Begin = {"kind": "begin", "key": run.key, "run": run, "is_judged": True, "watched": 1}
    assert protocol.to_keeper(protocol.encoded(begin)) == begin


@pytest.mark.parametrize(
    "ending",
    [
        Ending(values=(1.0, float("inf")), intermediate={3: 0.5, 1: float("inf")}, user_attrs={"a": '"b"'},
               constraints={"c": -1.0}, stops_search=True),
        Ending(failure=Failure(cause=Cause.EXIT, message="exit status 3", detail={"status": 3})),
        Ending(is_pruned=True, values=(1.0,), pruning=Pruning(rule="median", step=3, value=1.0, bound=0.5)),
        None,
    ],
    ids=["values", "failure", "pruned", "killed"],
)  # fmt: skip
def test_an_ending_is_the_same_on_the_other_side(ending: Ending | None) -> None:
    ended: protocol.Ended = {"kind": "ended", "key": "k", "ending": ending}
    read = protocol.to_daemon(protocol.encoded(ended))
    assert read == ended
    # The moment of an ending is no part of the comparison.
    assert repr(read) == repr(ended)


def test_a_message_is_one_line() -> None:
    failed: protocol.Failed = {"kind": "failed", "key": "k", "reason": "two\nlines"}
    assert protocol.encoded(failed).count(b"\n") == 1


@pytest.mark.parametrize(
    ("side", "read", "shapes"),
    [
        ("to_keeper", protocol.to_keeper, protocol.ToKeeper),
        ("to_daemon", protocol.to_daemon, protocol.ToDaemon),
    ],
    ids=["to the keeper", "to the daemon"],
)
def test_messages_of_this_version_are_as_they_were_recorded(
    side: str, read: Callable[[bytes], protocol.ToKeeper | protocol.ToDaemon], shapes: object
) -> None:
    lines = (RECORDED / f"{side}.jsonl").read_bytes().splitlines(keepends=True)
    assert [protocol.encoded(read(line)) for line in lines] == lines
    kinds = {get_args(get_type_hints(shape)["kind"])[0] for shape in get_args(shapes)}
    assert {json.loads(line)["kind"] for line in lines} == kinds
