"""The command as a process, and what it leaves in the spool."""

from __future__ import annotations

import asyncio
import os
import sys
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
    environ = {**os.environ, "TUNED_SOCKET": str(path)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environ
    )


async def tunectl(path: Path, *arguments: str) -> tuple[int, str, str]:
    process = await start(path, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def spooled(files: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in (files / "spool").iterdir()}
