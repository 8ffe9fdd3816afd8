"""The service that runs a daemon's trials as a user of their own, and where it is found.

It knows names and places, and must never ask whether the service runs.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tuned.config.paths import is_service

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The user, and the name of the service without its ending, that come with the package.
TRIALS_USER = "tuned-trials"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialsService:
    """One keeper that the service manager begins when somebody speaks to its socket."""

    user: str
    #: Where it listens. Only the daemon's user may speak there.
    socket: Path
    #: The directories of trials and points lie below it.
    home: Path

    @classmethod
    def of(cls, user: str) -> Self | None:
        """The service of this user; None without a name, because trials then run as the daemon's user."""
        if not user:
            return None
        return cls(user=user, socket=Path(f"/run/{user}.sock"), home=Path("/var/lib", user))


def default_user(environ: Mapping[str, str]) -> str:
    """That of the package, if this process is a service and the user is there; otherwise empty."""
    if not is_service(environ):
        return ""
    try:
        pwd.getpwnam(TRIALS_USER)
    except KeyError:
        return ""
    return TRIALS_USER
