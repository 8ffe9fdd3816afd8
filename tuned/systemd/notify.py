"""Messages to the service manager: sd_notify(3). Without NOTIFY_SOCKET none is sent.

It must never raise, because the daemon runs as well without a service manager.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Self

from sdnotify import SystemdNotifier

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager that started this process, if one did."""

    def __init__(self) -> None:
        # Without an address sdnotify would open a socket all the same, and leave it open.
        self._systemd = SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._systemd and self._systemd.socket:
            self._systemd.socket.close()

    def ready(self) -> None:
        self._say("READY=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; what is not printable ASCII becomes a question mark.

        sdnotify drops a message that it cannot encode, and a line's end would begin another assignment.
        """
        line = "".join(each if " " <= each <= "~" else "?" for each in text)
        self._say(f"STATUS={line}")

    def reloading(self) -> None:
        """To be followed by ``ready`` when the reload is over."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, within_seconds: float) -> None:
        """From now on the service manager counts, and kills what is left after TimeoutStopSec, or this."""
        self._say(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(within_seconds * 1e6)}")

    def watchdog(self) -> None:
        self._say("WATCHDOG=1")

    def _say(self, state: str) -> None:
        if self._systemd:
            self._systemd.notify(state)


def watchdog_interval_seconds(environ: Mapping[str, str]) -> float | None:
    """How often to call ``watchdog``: twice in the time that systemd waits. None: it does not wait for us."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not is_ours or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 2 / 1e6
