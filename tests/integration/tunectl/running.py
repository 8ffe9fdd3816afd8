"""The command as a process, and what it leaves in the spool."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

COMMAND = [sys.executable, "-c", "from tuned.tunectl.main import main; main()"]


EXPERIMENT = """
[objective]
command = ["true"]
[space.size]
type = "int"
low = 2
high = 64
"""


async def start(path: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await _start([*COMMAND, *arguments], path)


async def tunectl(path: Path, *arguments: str) -> tuple[int, str, str]:
    return await run([*COMMAND, *arguments], path)


async def run(command: Sequence[str], path: Path, *, seconds: float = 30) -> tuple[int, str, str]:
    process = await _start(command, path)
    out, err = await asyncio.wait_for(process.communicate(), seconds)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def _start(command: Sequence[str], path: Path) -> asyncio.subprocess.Process:
    environ = {**os.environ, "TUNED_SOCKET": str(path)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environ)


def spooled(files: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in (files / "spool").iterdir()}
