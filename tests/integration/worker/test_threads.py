"""Threads that a fork would lose, in processes that have them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PAUSED = """
import ctypes
c = ctypes.CDLL(None)
c.pthread_create(ctypes.byref(ctypes.c_ulong()), None, c.pause, None)
"""

#: Both begin threads of their own: OpenBLAS ends them before a fork, OpenMP does not.
OPENBLAS = "import numpy; numpy.ones((500, 500)) @ numpy.ones((500, 500))"

OPENMP = """
from sklearn.ensemble import HistGradientBoostingRegressor
HistGradientBoostingRegressor(max_iter=2).fit([[x] for x in range(99)], range(99))
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("pass", ""),
        ("import threading as t; t.Thread(target=t.Event().wait, name='a', daemon=True).start()",
         "threads running (a)"),
        (PAUSED, "threads of a library running"),
        (f"import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{PAUSED}",
         "threads of a library running"),
        (OPENBLAS, ""),
        (OPENMP, "threads of OpenMP (libgomp) running"),
    ],
    ids=["none", "python", "native", "without children", "openblas", "openmp"],
)  # fmt: skip
def test_threads_that_a_fork_would_lose_are_found(body: str, expected: str) -> None:
    script = f"{body}\nfrom tuned.worker.threads import lasting_threads\nprint(lasting_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == expected
