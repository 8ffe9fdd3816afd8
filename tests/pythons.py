"""Pythons of other versions than ours, and virtual environments without anything of ours.

They are looked for in PATH and among those of pyenv. Continuous integration has to have them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

#: The oldest that an objective may run in, ours, and a newer one than our oldest.
OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = tuple(dict.fromkeys(("3.9", OURS, "3.13")))


def python(version: str) -> str:
    """A Python of this version; skips the test without one."""
    if version == OURS:
        return sys.executable
    for program in _candidates(version):
        found = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.startswith(f"Python {version}."):
            return program
    where = f"no python{version} in PATH, and none of pyenv"
    if os.environ.get("CI"):
        pytest.fail(f"{where}: continuous integration has to have one")
    pytest.skip(where)


def environment(directory: Path, version: str = OURS) -> Path:
    """The Python of a new virtual environment with nothing installed in it."""
    subprocess.run([python(version), "-m", "venv", "--without-pip", str(directory)], check=True)
    return directory / "bin" / "python"


def _candidates(version: str) -> Iterator[str]:
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))]
    if there := shutil.which(f"python{version}"):
        yield there
        # A shim of pyenv runs only the versions that a person has chosen, and lies beside all of them.
        roots.append(Path(there).parent.parent)
    for root in roots:
        yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))
