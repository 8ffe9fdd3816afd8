"""The command that cleans the disk of this host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.tunectl.running import tunectl
from tests.small_host import SmallHost, a_cleaning


@pytest.mark.parametrize("name", [None, "minima"])
@pytest.mark.parametrize("is_dry", [True, False])
async def test_clean_asks_for_all_or_for_one_and_removes_nothing_in_a_dry_run(
    host: SmallHost, path: Path, name: str | None, is_dry: bool
) -> None:
    arguments = [*(["--dry-run"] if is_dry else []), *([name] if name else [])]
    status, out, _ = await tunectl(path, "clean", *arguments)
    assert (status, host.cleaned) == (0, [(name, is_dry)])
    assert out.splitlines()[-1].startswith("would free 2.0G" if is_dry else "freed 2.0G")
    assert json.loads((await tunectl(path, "clean", "--json", *arguments))[1]) == host.cleaning


async def test_clean_fails_if_something_stays(host: SmallHost, path: Path) -> None:
    host.cleaning = a_cleaning(problems=["cannot remove output of old: Permission denied"])
    status, out, _ = await tunectl(path, "clean")
    assert (status, "Permission denied" in out) == (1, True)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", ["other", "../etc"])
async def test_clean_knows_no_other_name(path: Path, name: str) -> None:
    status, _, err = await tunectl(path, "clean", name)
    assert (status, err.startswith(f"tunectl: cannot find experiment {name}")) == (1, True)
