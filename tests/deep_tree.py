"""A tree that is deeper than any path may be long, and than Python may call itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEVELS = 3000


@contextmanager
def deep_tree(directory: Path, *, goes: tuple[Path, ...]) -> Iterator[None]:
    """Makes it in a directory; whatever is left of it in those that are to go is gone afterwards."""
    descriptor = os.open(directory, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d", dir_fd=descriptor)
        above, descriptor = descriptor, os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(above)
    os.close(descriptor)
    try:
        yield
    finally:
        # Python's own removal, which pytest uses, does not get so deep.
        subprocess.run(["rm", "-rf", *goes], check=True)
