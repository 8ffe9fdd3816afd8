"""The command as a process: in a terminal, in a pipe, and beside the other commands."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.tunectl.running import COMMAND, tunectl
from tests.integration.tunectl.top.made import MadeHost
from tests.waiting import PATIENCE_SECONDS, until_async


class Terminal:
    """The other end of a process's terminal."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self.master = master
        self.process = process
        self.seen = b""

    def read(self) -> bytes:
        with suppress(OSError):
            self.seen += os.read(self.master, 65536)
        return self.seen

    async def until(self, shown: bytes) -> None:
        await until_async(lambda: shown in self.read(), what=lambda: f"{shown!r} in {self.seen[-2000:]!r}")

    async def end(self, key: bytes) -> int:
        os.write(self.master, key)
        await until_async(lambda: self.read() and self.process.returncode is not None, what="its end")
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def in_terminal(path: Path, **environment: str) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(master, False)
    environ = {**os.environ, "TUNED_SOCKET": str(path), "TERM": "xterm-256color", **environment}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "top", stdin=slave, stdout=slave, stderr=asyncio.subprocess.DEVNULL, env=environ
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
        os.close(master)


@pytest.mark.usefixtures("host")
async def test_it_opens_in_a_terminal_and_gives_it_back(path: Path) -> None:
    async with in_terminal(path, LANG="C.UTF-8", LC_ALL="") as terminal:
        await terminal.until(b"minima")
        await terminal.until("▃".encode())
        assert b"\x1b[32m" in terminal.seen
        assert await terminal.end(b"q") == 0
        assert b"\x1b[?1049l" in terminal.seen


@pytest.mark.usefixtures("host")
async def test_without_colours_and_unicode_a_terminal_gets_neither(path: Path) -> None:
    async with in_terminal(path, LANG="C", LC_ALL="", NO_COLOR="1") as terminal:
        await terminal.until(b"beta")
        assert await terminal.end(b"\x03") == 0
    assert terminal.seen.isascii()
    assert not any(b"\x1b[%dm" % colour in terminal.seen for colour in (31, 32, 33))


async def test_a_terminal_that_nobody_reads_holds_up_neither_the_daemon_nor_the_end(
    host: MadeHost, path: Path
) -> None:
    async with in_terminal(path, LANG="C.UTF-8") as terminal:
        await terminal.until(b"beta")
        asked = host.asked

        def goes_on() -> bool:
            # Each frame differs, so the terminal is full soon.
            host.experiments_here[0]["evaluations"] += 1
            host.experiments_here[0]["note"] = "x" * 70 + str(host.asked)
            host.events.publish("experiment-state", experiment="minima", state="open")
            return host.asked > asked + 40

        await until_async(goes_on, what="more questions", seconds=3 * PATIENCE_SECONDS)
        assert await terminal.end(b"q") == 0


@pytest.mark.usefixtures("host")
async def test_one_frame_goes_into_a_pipe(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = await tunectl(path, "top", "--once")
    assert (status, err, "Slot 2: idle" in out, "\x1b" in out) == (0, "", True, False)
    monkeypatch.setenv("LANG", "C")
    monkeypatch.delenv("LC_ALL", raising=False)
    status, out, _ = await tunectl(path, "top", "--once")
    assert (status, out.isascii(), "epoch[/] 7" in out) == (0, True, True)


@pytest.mark.usefixtures("host")
async def test_screens_need_a_terminal(path: Path) -> None:
    status, out, err = await tunectl(path, "top")
    assert (status, out, err.splitlines()[0]) == (
        2, "", "tunectl: expected a terminal; one frame as text: tunectl top --once",
    )  # fmt: skip


async def test_without_a_daemon_it_does_not_open(tmp_path: Path) -> None:
    status, _, err = await tunectl(tmp_path / "none.sock", "top", "--once")
    assert (status, "cannot reach the daemon" in err) == (3, True)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("arguments", [["status"], ["top", "--once"]], ids=" ".join)
async def test_only_the_screens_import_textual(path: Path, arguments: list[str]) -> None:
    code = (
        "import atexit, sys; sys.argv[1:] = %r; from tuned.tunectl.main import main; "
        "atexit.register(lambda: print({'textual', 'rich'} & set(sys.modules), file=sys.__stderr__)); main()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code % (arguments,), env={**os.environ, "TUNED_SOCKET": str(path)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, b"set()\n")
