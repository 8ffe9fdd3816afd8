"""Commands for the whole fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.tunectl.running import tunectl


@pytest.mark.usefixtures("host")
async def test_retry_says_what_is_evaluated_again(path: Path) -> None:
    said = "{} of minima free again; it is open\n"
    assert await tunectl(path, "retry", "minima", "--failed") == (0, said.format("3 failed points"), "")
    answer = await tunectl(path, "retry", "minima", "--failed", "--cause", "exit")
    assert answer == (0, said.format("1 failed point"), "")
    assert (await tunectl(path, "retry", "minima"))[0] == 2


@pytest.mark.usefixtures("host")
async def test_a_forgotten_host_is_no_longer_listed(path: Path) -> None:
    status, printed, _ = await tunectl(path, "hosts", "--forget", "beta")
    assert (status, "alpha" in printed, "beta" in printed) == (0, True, False)
    refused = "tunectl: cannot forget host alpha: it is alive\n"
    assert await tunectl(path, "hosts", "--forget", "alpha") == (1, "", refused)
