"""The process from which all commands begin: a fork of it waits, and becomes the program.

``python -m tuned.worker.command DESCRIPTOR GROUP``, as told in ``forkserver``. It must never import anything
slow: the first trial waits for it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from tuned.worker.channel import DESCRIPTOR
from tuned.worker.forkserver import Order, connect, serve

#: As a shell has it if there is a program, and it cannot be run.
CANNOT_RUN = 126

#: Signals that Python ignores, and that programs expect to be as they were.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


def main(arguments: Sequence[str]) -> None:
    descriptor, group = arguments
    serve(connect(descriptor, group), _become)


def _become(order: Order, reports: int | None) -> int:
    os.chdir(order["workdir"])
    if reports is not None:
        os.dup2(reports, DESCRIPTOR)
        os.set_inheritable(DESCRIPTOR, True)
        if reports != DESCRIPTOR:
            os.close(reports)
    for each in _IGNORED:
        signal.signal(each, signal.SIG_DFL)
    program, *_ = argv = order["argv"]
    try:
        os.execvpe(program, argv, order["environment"])  # noqa: S606 (a member of the spool's group asked for it)
    except OSError as error:
        os.write(2, f"tuned: cannot run {program!r}: {error.strerror}\n".encode())
        return CANNOT_RUN


if __name__ == "__main__":
    main(sys.argv[1:])
