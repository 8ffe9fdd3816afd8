"""Whether the terminal keeps up is known without waiting for it."""

from __future__ import annotations

import os

from textual.drivers._writer_thread import WriterThread

from tests.waiting import until
from tuned.tunectl.top.driver import Terminal


def test_a_terminal_is_behind_while_something_waits_for_it() -> None:
    read_end, write_end = os.pipe()
    terminal = Terminal.__new__(Terminal)
    with os.fdopen(write_end, "w") as file, os.fdopen(read_end, "rb") as reader:
        thread = WriterThread(file)
        terminal._writer_thread = thread
        thread.start()
        thread.write("x" * 2**20)
        thread.write("y")
        assert terminal.is_behind
        until(lambda: reader.read1(2**20).endswith(b"y"), what="all that was written")
        until(lambda: not terminal.is_behind, what="an empty queue")
        thread.stop()
