"""The scope of a key of the experiment file: which hosts share it, and whether it may be replaced.

It owns the kinds. The key's model in ``file`` says which kind a key is of.
"""

from __future__ import annotations

from enum import Enum


class Scope(Enum):
    """Each key of the file has one, or the whole table of the key has."""

    #: With another value, trials would come that do not belong into the same study.
    SEARCH = "one for the fleet, and another value makes another search"
    #: A person may replace it for the trials that start from then on.
    FLEET = "one for the fleet, and can be replaced"
    #: It is no part of the definition. A person may replace it on each host.
    HOST = "each host has its own"
