"""Programs of ours that know Optuna, which tunectl itself never imports: they answer on standard output."""

from __future__ import annotations

import json
import subprocess
import sys

from tuned.errors import TunedError


def answer_of(module: str, request: object, trouble: str) -> bytes:
    """Gives a program its request on standard input, because a command line is seen by everybody.

    Raises TunedError with the ``trouble`` and the program's last line if it fails.
    """
    text = json.dumps(request).encode()
    done = subprocess.run([sys.executable, "-m", module], input=text, capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise TunedError(f"{trouble}: {reason}")
    return done.stdout
