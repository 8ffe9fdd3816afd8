"""Names of experiments and numbers of trials complete in the shell."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.integration.tunectl.running import COMMAND, tunectl
from tests.small_host import SmallHost


async def completed(path: Path, words: str) -> list[str]:
    """The completions of the last word."""
    place = str(len(words.split(" ")) - 1)
    variables = {"_TUNECTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
    command = f"import os, sys; os.environ.update({variables!r}); sys.argv[0] = 'tunectl'\n{COMMAND[2]}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, env={**os.environ, "TUNED_SOCKET": str(path)}, stdout=-1
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    # No completion is an empty line.
    return out.decode().split()


@pytest.mark.usefixtures("host")
async def test_names_and_numbers_complete_in_the_shell(path: Path) -> None:
    assert await completed(path, "tunectl show mi") == ["plain,minima"]
    assert await completed(path, "tunectl explain minima 24") == [
        f"plain,{number}" for number in reversed(range(240, 250))
    ]
    assert await completed(path, "tunectl logs minima 9") == []
    assert await completed(path, "tunectl explain other 2") == []


async def test_a_name_that_the_shell_might_obey_is_not_completed(host: SmallHost, path: Path) -> None:
    host.summary["name"] = "mi;$(reboot)\nplain,more"
    assert await completed(path, "tunectl show mi") == []


async def test_a_name_that_is_none_is_told_without_a_daemon(path: Path) -> None:
    status, _, err = await tunectl(path, "show", "a/../b")
    assert (status, err.startswith("tunectl: cannot find experiment a/../b: a name is 1 to 100")) == (1, True)
