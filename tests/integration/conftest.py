"""The fixtures that these tests share: a process that stands in for the daemon."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from tuned.trial import process_table

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="module")
def _subreaper() -> Iterator[None]:
    """Orphans of trials come to us, as they come to the daemon."""
    process_table.become_subreaper()
    yield
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
