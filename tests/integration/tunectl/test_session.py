"""Names of experiments complete in the shell."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.integration.tunectl.running import COMMAND


@pytest.mark.usefixtures("host")
async def test_names_complete_in_the_shell(path: Path) -> None:
    variables = {"_TUNECTL_COMPLETE": "bash_complete", "COMP_WORDS": "tunectl show mi", "COMP_CWORD": "2"}
    command = f"import os, sys; os.environ.update({variables!r}); sys.argv[0] = 'tunectl'\n{COMMAND[2]}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, env={**os.environ, "TUNED_SOCKET": str(path)}, stdout=-1
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"plain,minima\n"
