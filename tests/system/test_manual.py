"""The manual pages as mandoc itself reads them: Debian's package ``mandoc``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "packaging" / "man").iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_has_nothing_to_complain_of(page: Path) -> None:
    lint = ["mandoc", "-T", "lint", "-W", "warning"]
    done = subprocess.run([*lint, page], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
