"""The terminal: Textual's driver on standard output, and whether the terminal keeps up with it."""

from __future__ import annotations

import sys
from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class Terminal(LinuxDriver):
    """Textual itself would write to standard error, which a person may have sent elsewhere."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file = sys.__stdout__

    @property
    def is_behind(self) -> bool:
        """Something waits for the terminal: one more frame would wait too, and with it the whole program."""
        thread = self._writer_thread
        return thread is not None and not thread._queue.empty()  # noqa: SLF001 (Textual says it nowhere else)
