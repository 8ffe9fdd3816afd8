"""The names of this host's users and groups, for messages.

It must never decide what a user may do. A name may come over the network, so the event loop asks in a thread.
"""

from __future__ import annotations

import grp
import pwd


def user_name(uid: int) -> str:
    """The number, if it has no name here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)


def described(uid: int) -> str:
    """``user alice (uid 1000)``, for a message about somebody whom the reader may know by either."""
    name = user_name(uid)
    return f"uid {uid}" if name == str(uid) else f"user {name} (uid {uid})"
