"""Process trees without control groups: found and killed while the event loop goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.daemon import all_processes, is_alive
from tests.integration.trial.trees import double_fork, pid_in
from tests.waiting import PATIENCE_SECONDS, until
from tuned.trial import process_table
from tuned.worker.forkserver import MARK_VARIABLE

pytestmark = pytest.mark.usefixtures("_subreaper")


def begin(mark: str, script: str) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], MARK_VARIABLE: mark}
    return subprocess.Popen(["sh", "-c", script], env=environment, start_new_session=True)


def leave(tmp_path: Path, mark: str, script: Callable[[Path], str] = double_fork) -> tuple[int, int]:
    """A main process that has ended, and a process that it left."""
    file = tmp_path / "pid"
    main = begin(mark, script(file))
    left = pid_in(file)
    main.wait()
    return main.pid, left


async def test_the_loop_goes_on_while_a_tree_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    look = process_table._processes

    def slow_look() -> dict[int, process_table.Process]:
        assert goes_on.wait(PATIENCE_SECONDS), "the event loop stood still"
        return look()

    pid, left = leave(tmp_path, f"{tmp_path.name}/1")
    monkeypatch.setattr(process_table, "_processes", slow_look)
    asyncio.get_running_loop().call_later(0.01, goes_on.set)
    assert await process_table.kill_tree(pid, f"{tmp_path.name}/1", ())
    assert not is_alive(left)


async def test_what_needs_long_to_go_is_waited_for_and_what_does_not_go_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, left = leave(tmp_path, f"{tmp_path.name}/1")
    monkeypatch.setattr(process_table, "_signal", lambda *_: None)
    monkeypatch.setattr(process_table, "GONE_SECONDS", 0.05)
    assert not await process_table.kill_tree(pid, f"{tmp_path.name}/1", ())
    monkeypatch.undo()
    killing = asyncio.create_task(process_table.kill_tree(pid, f"{tmp_path.name}/1", ()))
    assert await killing
    assert left not in all_processes()


async def test_a_process_without_mark_and_session_is_found_by_its_living_parent(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def escaping_child(_: Path) -> str:
        say = f"echo $$ > {file}.new; mv {file}.new {file}"
        escaped = f"env -u {MARK_VARIABLE} setsid sh -c '{say}; exec sleep 600'"
        return f'setsid --fork sh -c "{escaped.replace("$", chr(92) + "$")} & wait"'

    pid, left = leave(tmp_path, f"{tmp_path.name}/1", escaping_child)
    assert await process_table.kill_tree(pid, f"{tmp_path.name}/1", ())
    assert not is_alive(left)


async def test_the_end_of_another_trials_main_process_is_left_to_its_owner(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}/1"
    pid, left = leave(tmp_path, mark)
    running, ended = begin(mark, "exec sleep 600"), begin(mark, "exit 7")
    try:
        until(lambda: process_table._processes()[ended.pid].is_zombie, what="the other one to end")
        assert await process_table.kill_tree(pid, mark, {running.pid, ended.pid})
        assert not is_alive(left)
        assert running.poll() is None
        assert ended.wait() == 7
    finally:
        running.kill()
        running.wait()


async def test_a_session_of_a_process_that_got_the_same_number_is_another_one(tmp_path: Path) -> None:
    other = begin(f"{tmp_path.name}/2", "exec sleep 600")
    try:
        # As if the number had been a trial's main process before.
        assert await process_table.kill_tree(other.pid, f"{tmp_path.name}/1", ())
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_where_nothing_was_left_the_system_is_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = begin(f"{tmp_path.name}/1", "true")
    main.wait()
    monkeypatch.setattr(process_table, "_processes", lambda: pytest.fail("looked"))
    known = process_table._adopted_ones(()) or set()
    assert await process_table.kill_tree(main.pid, f"{tmp_path.name}/1", known)


async def test_the_marks_of_an_installation_are_found_wherever_they_are(tmp_path: Path) -> None:
    _, left = leave(tmp_path, f"{tmp_path.name}/1")
    assert await process_table.kill_installation(tmp_path.name)
    assert not is_alive(left)


async def test_an_adopted_process_is_taken_off_at_the_second_call(tmp_path: Path) -> None:
    _, left = leave(tmp_path, f"{tmp_path.name}/1")
    os.kill(left, 9)
    until(lambda: process_table._processes()[left].is_zombie, what="it to end")
    process_table.reap_adopted(())
    process_table.reap_adopted(())
    assert left not in all_processes()
