"""The table ``[fleet]`` of an experiment file: the hosts that take part, and the order on each of them.

It must never know a host: its name and labels are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from tuned.config.fields import Name
from tuned.config.toml import Table, refuse
from tuned.domain.names import NAME
from tuned.experiment.keys import Array

if TYPE_CHECKING:
    from collections.abc import Collection

#: Any host that is not kept out, or each host on which a person drops the file.
Everybody = Literal["all", "here"]

HIGHEST_PRIORITY = 100

_HOSTS = '"all", "here", or an array of names of hosts such as ["h1", "h2"]'


def _hosts(value: object) -> Everybody | tuple[str, ...]:
    if value in ("all", "here"):
        return "all" if value == "all" else "here"
    if not isinstance(value, list | tuple) or not value:
        refuse(_HOSTS, "an empty array" if value in ([], ()) else "")
    if not all(isinstance(each, str) and NAME.fullmatch(each) for each in value):
        refuse(_HOSTS, "an array of something else")
    return tuple(value)


Hosts = Annotated[
    Everybody | tuple[str, ...],
    BeforeValidator(_hosts),
    WithJsonSchema(
        {
            "title": _HOSTS,
            "anyOf": [
                {"enum": ["all", "here"]},
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": f"^{NAME.pattern}$"},
                    "minItems": 1,
                },
            ],
        }
    ),
]


class Participation(Table):
    """The hosts that work on the experiment, and its place among others there.

    The other hosts of the database take its file over by themselves.
    """

    hosts: Hosts = Field(
        default="all",
        description="`all`: each host of the database takes the file over. An array of names: these hosts "
        "alone work on it, wherever the file is dropped. `here`: only hosts on which a person drops it.",
    )
    labels: Array[Name] = Field(
        default=(),
        description="Only hosts that have all of these in `labels` of their settings work on it; on the "
        "others it rests.",
    )
    priority: Annotated[int, Field(ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY)] = Field(
        default=0,
        description="On each host, experiments of a higher priority get free slots first; equal ones share "
        "them. No running trial is ended for another.",
    )

    @property
    def is_shared(self) -> bool:
        """Whether other hosts get the file."""
        return self.hosts != "here"

    def invites(self, host: str) -> bool:
        """Whether this host is to take a file over that was dropped on another one."""
        return self.hosts == "all" or host in self.hosts

    def lacking(self, labels: Collection[str]) -> str:
        """Why a host with these labels may not work on it, for people; empty if it may."""
        lacking = [label for label in self.labels if label not in labels]
        if not lacking:
            return ""
        has = f"has {', '.join(sorted(labels))}" if labels else "has none"
        return f"needs label{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}, this host {has}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The words of a host on itself, and on the experiments of others."""

    host: str
    labels: tuple[str, ...] = ()
    #: Whether it works on experiments that were dropped on other hosts.
    accepts: bool = True

    def refusal(self, fleet: Participation, *, origin: str) -> str:
        """Why this host does not work on an experiment, for people; empty if it does.

        ``origin`` is the host on which its file was dropped, and empty if that is this one.
        """
        if origin and not self.accepts:
            return f"this host takes only what is dropped on it, and this is from {origin} (fleet.accept)"
        if fleet.hosts == "here":
            return "it is for hosts on which its file is dropped (fleet.hosts)" if origin else ""
        if not fleet.invites(self.host):
            return f"it is for {' and '.join(fleet.hosts)} (fleet.hosts)"
        return fleet.lacking(self.labels)
