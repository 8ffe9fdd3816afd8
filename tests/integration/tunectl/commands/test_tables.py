"""The arguments of export and import."""

from __future__ import annotations

from pathlib import Path

from tests.integration.tunectl.running import tunectl
from tests.small_host import SmallHost


async def test_an_import_takes_a_file_or_a_study(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.touch()
    for arguments in ([], [str(file), "--study", "older"]):
        assert (await tunectl(path, "import", "minima", *arguments))[0] == 2
    assert (await tunectl(path, "import", "minima", str(file), "--storage", "sqlite:////a"))[0] == 2


async def test_a_file_that_is_not_there_is_one_line(host: SmallHost, path: Path, tmp_path: Path) -> None:
    status, out, err = await tunectl(path, "import", "minima", str(tmp_path / "a.csv"))
    assert (status, out) == (1, "")
    assert err == f"tunectl: cannot go on: {tmp_path / 'a.csv'}: No such file or directory\n"
    assert host.imported == b""
