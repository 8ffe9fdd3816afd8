"""One trial's process tree: how it starts, what it is given, how it ends, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.daemon import all_processes, is_alive, resident_megabytes
from tests.factories import MIXED
from tests.integration.trial.starting import run, run_with, serving
from tests.integration.trial.trees import cgroup_root, double_fork, pid_in, staying
from tests.waiting import PATIENCE_SECONDS, until, until_async
from tuned.disk import trial_log
from tuned.domain.ending import MOST_STEPS, Cause, Ending, Failure
from tuned.experiment.experiment import parse
from tuned.trial import cgroup, programs
from tuned.trial.curve import Curve
from tuned.trial.fork_servers import ServerProgram
from tuned.trial.launch import Launch

pytestmark = pytest.mark.usefixtures("_subreaper")


@pytest.fixture
def bare(tmp_path: Path) -> Launch:
    """Without a control group: the tree is found by descent, session and mark."""
    return Launch(
        argv=("true",),
        environment={"PATH": os.environ["PATH"]},
        workdir=tmp_path,
        log=tmp_path / "output.log",
        timeout_seconds=None,
        objectives=1,
        pattern=None,
        mark=f"test/{tmp_path.name}",
        cgroups=None,
    )


@pytest.fixture
def grouped(bare: Launch) -> Iterator[Launch]:
    """In a control group."""
    with cgroup_root() as (root, name):
        yield replace(bare, cgroups=root, mark=f"{name}/test")


@pytest.fixture(params=["best-effort", "cgroup"])
def launch(bare: Launch, request: pytest.FixtureRequest) -> Launch:
    """Once with each isolation."""
    if request.param == "best-effort":
        return bare
    grouped: Launch = request.getfixturevalue("grouped")
    return grouped


async def sh(launch: Launch, script: str) -> Ending:
    return await run(replace(launch, argv=("sh", "-c", script)))


def lines(launch: Launch) -> list[str]:
    return launch.log.read_text().splitlines()


def failure(ending: Ending) -> Failure:
    assert ending.failure is not None, ending
    return ending.failure


# How it ends


async def test_the_last_line_is_the_value(launch: Launch) -> None:
    assert await sh(launch, "echo begin; echo 0.5") == Ending(values=(0.5,))


async def test_an_exit_status_fails_the_trial_whatever_was_printed(launch: Launch) -> None:
    found = failure(await sh(launch, "echo 0.5; echo first >&2; echo 'no such data' >&2; exit 3"))
    assert found == Failure(cause=Cause.EXIT, message="exit status 3: no such data", detail={"status": 3})


async def test_a_signal_fails_the_trial(launch: Launch) -> None:
    found = failure(await sh(launch, "echo 0.5; kill -KILL $$"))
    assert found == Failure(cause=Cause.SIGNAL, message="killed by SIGKILL", detail={"signal": "SIGKILL"})


async def test_a_signal_that_has_no_name_is_told_by_its_number(bare: Launch) -> None:
    assert failure(await sh(bare, "kill -40 $$")).detail == {"signal": "40"}


async def test_past_the_timeout_it_is_killed(launch: Launch) -> None:
    ending = await sh(replace(launch, timeout_seconds=0.2), "echo 0.5; sleep 600")
    expected = {"cause": "timeout", "message": "still running after 0.2 s", "timeout": 0.2}
    assert failure(ending).attribute() == expected


async def test_without_a_value_it_fails(launch: Launch) -> None:
    found = failure(await sh(launch, "echo 0.5 >&2"))
    assert found.cause is Cause.NO_VALUE
    assert "nothing was printed" in found.message


async def test_what_was_reported_before_a_crash_is_kept(bare: Launch) -> None:
    ending = await sh(bare, """echo '{"step": 1, "value": 4}'; exit 1""")
    assert ending.intermediate == {1: 4.0}
    assert failure(ending).cause is Cause.EXIT


async def test_where_the_kernel_killed_for_want_of_memory_that_is_the_cause(
    grouped: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if memory were accounted here, and the kernel had killed.
    monkeypatch.setattr(cgroup.Cgroup, "oom_kills", lambda _: 1)
    found = failure(await sh(grouped, "echo big >&2; kill -KILL $$"))
    assert (found.cause, found.message) == (Cause.OOM, "killed for want of memory: big")
    assert failure(await sh(grouped, "true")).cause is Cause.OOM
    # A trial that lost a child and got over it has a value.
    assert (await sh(grouped, "echo 1")).values == (1.0,)


# Its output


async def test_all_that_was_printed_right_before_the_end_is_read(launch: Launch) -> None:
    for _ in range(5):
        ending = await sh(launch, "head -c 65000 /dev/zero | tr '\\0' '\\n'; echo 0.5")
        assert ending.values == (0.5,)


async def test_the_log_has_both_outputs(launch: Launch) -> None:
    await sh(launch, "echo out; echo err >&2; echo 1")
    assert sorted(launch.log.read_text().split()) == ["1", "err", "out"]


async def test_a_slow_disk_holds_up_neither_the_loop_nor_the_end(
    bare: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    write = trial_log._File.write

    def slow_write(file: trial_log._File, output: bytes) -> None:
        assert goes_on.wait(PATIENCE_SECONDS), "the event loop stood still"
        write(file, output)

    monkeypatch.setattr(trial_log._File, "write", slow_write)
    monkeypatch.setattr(trial_log, "WRITTEN_SECONDS", 0.05)
    assert (await sh(bare, "echo 0.5")).values == (0.5,)
    assert bare.log.read_text() == ""
    goes_on.set()
    await until_async(lambda: bare.log.read_text() == "0.5\n", what="the log")


async def test_a_last_line_without_its_end_is_told_as_a_line(bare: Launch) -> None:
    seen: list[bytes] = []
    async with serving(ServerProgram.of_commands()) as server:
        launch = replace(bare, argv=("printf", "1\\n2"))
        await run_with(launch, server.start, on_line=seen.append)
    assert seen == [b"1", b"2"]


async def test_intermediate_values_are_told_while_it_runs(bare: Launch) -> None:
    curve = Curve()
    script = """echo '{"step": 1, "value": 4}'; sleep 600"""
    running = asyncio.create_task(run(replace(bare, argv=("sh", "-c", script)), curve))
    await until_async(lambda: curve.values == {1: 4.0}, what="the report")
    await cancel(running)


@pytest.mark.parametrize("flood", ["head -c 100000000 /dev/zero", "yes epoch | head -c 20000000"])
async def test_a_flood_takes_neither_memory_nor_the_disk(bare: Launch, flood: str) -> None:
    await sh(bare, "echo warm")
    before = resident_megabytes(os.getpid())
    ending = await sh(bare, f"{flood}; {flood} >&2; echo; echo 0.5")
    assert ending.values == (0.5,)
    assert resident_megabytes(os.getpid()) < before + 30
    assert sum(path.stat().st_size for path in bare.log.parent.iterdir()) < 40 * 2**20


async def test_a_flood_of_steps_takes_no_memory(bare: Launch) -> None:
    await sh(bare, "echo warm")
    before = resident_megabytes(os.getpid())
    ending = await sh(bare, """seq 1 300000 | sed 's/.*/{"step": &, "value": &}/'""")
    assert (ending.values, ending.intermediate[300_000]) == ((300_000.0,), 300_000.0)
    assert MOST_STEPS // 2 < len(ending.intermediate) <= MOST_STEPS + 1
    assert resident_megabytes(os.getpid()) < before + 30


async def test_a_flood_lets_the_loop_turn(bare: Launch) -> None:
    running = asyncio.create_task(sh(bare, "exec yes"))
    await until_async(lambda: bare.log.exists() and bare.log.stat().st_size > 2**20, what="a flood")
    for _ in range(100):
        await asyncio.sleep(0)
    assert not running.done()
    await cancel(running)


async def test_a_trial_has_no_standard_input(bare: Launch) -> None:
    assert (await sh(bare, "cat; echo 1")).values == (1.0,)


# Its input


async def test_arguments_reach_the_program_as_they_are(launch: Launch) -> None:
    argument = "$HOME; `date` 'quoted' \n *"
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    await run(replace(launch, argv=(sys.executable, "-c", script, argument, "")))
    assert json.loads(launch.log.read_text()) == [argument, ""]


async def test_the_environment_is_the_given_one_and_the_mark(launch: Launch) -> None:
    given = {"PATH": os.environ["PATH"], "ONLY": "this", "TUNED_TRIAL": "4"}
    script = "import os, json; print(json.dumps(dict(os.environ)))"
    await run(replace(launch, environment=given, argv=(sys.executable, "-c", script)))
    found = json.loads(launch.log.read_text())
    # sh adds these two when it has them not, Python the third.
    assert (
        found.items() - {name: found.get(name) for name in ("PWD", "OLDPWD", "LC_CTYPE")}.items()
        == {
            **given,
            "TUNED_MARK": launch.mark,
        }.items()
    )


async def test_it_is_in_its_control_group_before_its_program_begins(grouped: Launch) -> None:
    await run(replace(grouped, argv=("cat", "/proc/self/cgroup")))
    installation_id = grouped.mark.partition("/")[0]
    assert any(line.startswith("0::") and f"/trials/{installation_id}-" in line for line in lines(grouped))


async def test_it_has_no_descriptors_and_signals_of_ours(launch: Launch) -> None:
    ours = await asyncio.to_thread(Path("/proc/self/status").read_text)
    await sh(launch, "ls -l /proc/$$/fd; cat /proc/self/status")
    found = lines(launch)
    assert {line.split()[-3] for line in found if "->" in line} == {"0", "1", "2"}
    # Python ignores these for itself.
    pythons = sum(1 << each - 1 for each in (signal.SIGPIPE, signal.SIGXFSZ))
    for name, without in {"SigIgn": pythons, "SigBlk": 0}.items():
        assert signals(found, name) == signals(ours.splitlines(), name) & ~without


def signals(status: list[str], name: str) -> int:
    return next(int(line.split()[1], 16) for line in status if line.startswith(name))


async def test_what_an_experiment_sets_is_for_its_program_and_not_for_what_begins_it(launch: Launch) -> None:
    setting = {"PYTHONHOME": "/no/where"}
    content = f'[objective]\ncommand = ["true"]\nenv = {{ PYTHONHOME = "/no/where" }}\n{MIXED}'
    assert programs.server_program(parse(content.encode(), "exp.toml"), "h", launch.workdir) is None
    argv = ("sh", "-c", "test $PYTHONHOME = /no/where && echo 1")
    begun = replace(launch, argv=argv, environment={**launch.environment, **setting})
    async with serving(ServerProgram.of_commands()) as server:
        assert (await run_with(begun, server.start)).values == (1.0,)


async def test_it_runs_in_its_working_directory(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    await sh(replace(launch, workdir=tmp_path / "here"), "pwd")
    assert launch.log.read_text() == f"{tmp_path}/here\n"


async def test_a_program_is_found_relative_to_the_working_directory(launch: Launch, tmp_path: Path) -> None:
    program = tmp_path / "train.sh"
    program.write_text("#!/bin/sh\necho 0.5\n")
    program.chmod(0o755)
    assert (await run(replace(launch, argv=("./train.sh",)))).values == (0.5,)


# Programs that cannot be started


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("no-such-program", "cannot run 'no-such-program': not found in PATH (/no/where)"),
        ("./none.sh", "cannot run './none.sh': there is no such file (working directory {here})"),
        ("/no/such", "cannot run '/no/such': there is no such file (working directory {here})"),
        ("./plain", "cannot run './plain': it is not executable"),
        ("./directory", "cannot run './directory': it is not executable"),
    ],
)
async def test_a_program_that_cannot_be_run_is_told(
    launch: Launch, tmp_path: Path, program: str, expected: str
) -> None:
    (tmp_path / "plain").touch(mode=0o644)
    (tmp_path / "directory").mkdir()
    ending = await run(replace(launch, argv=(program,), environment={"PATH": "/no/where"}))
    assert failure(ending) == Failure(cause=Cause.EXIT, message=expected.format(here=tmp_path))


async def test_a_working_directory_that_is_not_there_is_told(launch: Launch, tmp_path: Path) -> None:
    found = failure(await sh(replace(launch, workdir=tmp_path / "none"), "echo 1"))
    assert found.message == f"cannot run in {tmp_path}/none: there is no such directory"


async def test_a_program_that_the_system_refuses_is_told(bare: Launch, tmp_path: Path) -> None:
    program = tmp_path / "text"
    program.write_text("no program\n")
    program.chmod(0o755)
    found = failure(await run(replace(bare, argv=(str(program),))))
    assert found.message == f"exit status 126: tuned: cannot run '{program}': Exec format error"


async def test_arguments_that_are_too_long_are_told(launch: Launch) -> None:
    ending = await run(replace(launch, argv=("echo", "x" * 200_000)))
    assert "Argument list too long" in failure(ending).message


# Nothing is left


async def cancel(running: asyncio.Task[Ending]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_cancelled_run_kills_its_tree(launch: Launch, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    running = asyncio.create_task(sh(launch, f"{staying(one)} & {staying(two)}; echo 1"))
    pids = [await asyncio.to_thread(pid_in, file) for file in (one, two)]
    assert all(map(is_alive, pids))
    await cancel(running)
    assert not any(map(is_alive, pids))


async def test_what_forked_twice_and_left_the_session_is_gone(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    running = asyncio.create_task(sh(launch, f"{double_fork(file)}; sleep 600"))
    pid = await asyncio.to_thread(pid_in, file)
    assert os.getsid(pid) != os.getsid(0)
    await cancel(running)
    assert not is_alive(pid)


async def test_what_a_trial_leaves_behind_ends_with_it(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    ending = await sh(launch, f"{double_fork(file)}; until [ -e {file} ]; do sleep 0.01; done; echo 1")
    assert ending.values == (1.0,)
    assert not is_alive(pid_in(file))


@pytest.mark.parametrize("place", ["ours", "another trial's"])
async def test_what_moved_itself_into_another_group_is_gone_with_its_trial_and_nothing_else(
    grouped: Launch, tmp_path: Path, place: str
) -> None:
    other, stray, mover = tmp_path / "other", tmp_path / "stray", tmp_path / "mover"
    async with serving(ServerProgram.of_commands()) as server:
        script = f"{double_fork(other)}; sleep 600"
        neighbour = replace(
            grouped, argv=("sh", "-c", script), mark=f"{grouped.mark[:-1]}x", log=tmp_path / "log2"
        )
        running = asyncio.create_task(run_with(neighbour, server.start))
        bystander = await asyncio.to_thread(pid_in, other)
        group = group_of("self") if place == "ours" else group_of(bystander)
        mover.write_text(f"echo $$ > {group}/cgroup.procs && exec {staying(stray)}")
        moves = f"setsid --fork sh {mover}; until [ -e {stray} ]; do sleep 0.01; done; echo 1"
        ending = await run_with(replace(grouped, argv=("sh", "-c", moves)), server.start)
        assert (ending.values, lines(grouped)) == ((1.0,), ["1"])
        assert not is_alive(pid_in(stray))
        assert is_alive(bystander)
        await cancel(running)
        assert not is_alive(bystander)


def group_of(pid: int | str) -> Path:
    [path] = [line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line[:3] == "0::"]
    own = cgroup._own_group()
    assert own is not None
    [ours] = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"]
    return own / Path(path).relative_to(ours)


async def test_what_is_still_giving_back_its_memory_is_waited_for(launch: Launch, tmp_path: Path) -> None:
    # It runs no more, and has no environment any more that would show its mark.
    file = tmp_path / "pid"
    program = (
        f"import os, time; big = b'x' * 2**29; open('{file}.new', 'w').write(str(os.getpid())); "
        f"os.rename('{file}.new', '{file}'); time.sleep(600)"
    )
    leave = shlex.join(["setsid", "--fork", sys.executable, "-S", "-c", program])
    script = f"{leave}; until [ -e {file} ]; do sleep 0.01; done; echo 1"
    async with serving(ServerProgram.of_commands()) as server:
        ending = await run_with(replace(launch, argv=("sh", "-c", script)), server.start)
        assert not is_alive(pid_in(file))
    assert ending.values == (1.0,)


async def test_a_tree_past_its_timeout_is_gone(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    ending = await sh(replace(launch, timeout_seconds=1.0), f"{staying(file)} & sleep 600")
    assert failure(ending).cause is Cause.TIMEOUT
    assert not (file.exists() and is_alive(pid_in(file)))


async def test_the_end_of_one_trial_leaves_the_others(bare: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    other = replace(bare, mark="test/other")
    running = asyncio.create_task(sh(other, f"{double_fork(file)}; sleep 600"))
    pid = await asyncio.to_thread(pid_in, file)
    own = tmp_path / "own"
    await sh(bare, f"{double_fork(own)}; until [ -e {own} ]; do sleep 0.01; done; echo 1")
    assert not is_alive(pid_in(own))
    assert is_alive(pid)
    await cancel(running)
    assert not is_alive(pid)


async def test_a_tree_that_keeps_forking_is_gone_with_its_group(grouped: Launch, tmp_path: Path) -> None:
    # Each is the child of the one before, which has ended when the next one forks. If these tests are killed,
    # it ends by itself.
    script = """
import os, sys, time
open(sys.argv[1], "w").close()
end = time.monotonic() + 60
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
    file = tmp_path / "begun"
    argv = ("sh", "-c", f"{sys.executable} -S -c '{script}' {file}; sleep 600")
    running = asyncio.create_task(run(replace(grouped, argv=argv)))
    await until_async(file.exists, what="the first fork", seconds=30)
    await cancel(running)
    assert grouped.cgroups is not None
    # A group that still has processes cannot be removed.
    assert list(grouped.cgroups.path.glob(f"{grouped.mark.replace('/', '-')}*")) == []


async def test_what_trials_left_does_not_pile_up_as_zombies(grouped: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    left = []
    for _ in range(4):
        await sh(
            grouped, f"rm -f {file}; {double_fork(file)}; until [ -e {file} ]; do sleep 0.01; done; echo 1"
        )
        left.append(pid_in(file))
    assert not set(left[:-1]) & set(all_processes())


# The exact limit without control groups


async def test_what_escaped_neither_delays_the_end_nor_spoils_the_value(bare: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    ending = await sh(bare, f"{escape(file)}; echo 0.5")
    assert ending.values == (0.5,)
    pid = pid_in(file)
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), what="the escaped process to end")


async def test_from_a_control_group_nothing_escapes(grouped: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert (await sh(grouped, f"{escape(file)}; echo 1")).values == (1.0,)
    assert not is_alive(pid_in(file))


def escape(file: Path) -> str:
    """Leaves the session, loses its parents and removes the mark; goes when its work is done."""
    return f"env -u TUNED_MARK {double_fork(file)}; until [ -e {file} ]; do sleep 0.01; done"


# Grace


async def test_within_its_grace_a_program_ends_by_itself(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"trap 'echo saved; exit 0' TERM; echo $$ > {file}; while :; do sleep 0.05; done"
    running = asyncio.create_task(sh(replace(launch, grace_seconds=60), script))
    await asyncio.to_thread(pid_in, file)
    await cancel(running)
    await trial_log.all_written()
    assert "saved" in launch.log.read_text()


async def test_after_its_grace_a_program_is_killed(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done"
    running = asyncio.create_task(sh(replace(launch, grace_seconds=0.2), script))
    pid = await asyncio.to_thread(pid_in, file)
    await cancel(running)
    assert not is_alive(pid)


async def test_a_run_that_is_cancelled_in_the_grace_of_its_timeout_kills_its_tree(
    launch: Launch, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    script = f"trap 'echo $$ > {file}' TERM; while :; do sleep 0.05; done"
    running = asyncio.create_task(sh(replace(launch, grace_seconds=5, timeout_seconds=4), script))
    pid = await asyncio.to_thread(pid_in, file)
    await cancel(running)
    assert not is_alive(pid)


async def test_directories_that_a_trial_leaves_empty_are_removed(launch: Launch, tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    made = replace(launch, directories=(empty, full), removed_if_empty=(empty, full))
    await sh(made, f"touch {full}/kept; echo 1")
    assert not empty.exists()
    assert (full / "kept").exists()
