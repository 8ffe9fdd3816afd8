"""Changes that a key asks for: the question to the person first, then the request to the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuned.errors import TunedError
from tuned.protocol.experiments import ExperimentSummary
from tuned.protocol.host import StateView
from tuned.tunectl.client import experiment_path
from tuned.tunectl.text import printable

if TYPE_CHECKING:
    from tuned.tunectl.client import Client
    from tuned.tunectl.top.paper import Target

#: The key of each change of an experiment, with its verb and its effect.
_OF_EXPERIMENT = {
    "p": ("pause", "what runs goes on"),
    "r": ("resume", "it goes on in the whole fleet"),
    "c": ("cancel", "what runs is stopped in the whole fleet"),
}

_DRAIN = "d"

KEYS = frozenset({*_OF_EXPERIMENT, _DRAIN})

NOTHING_CHOSEN = "choose an experiment first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    question: str
    verb: str
    #: None: of the host.
    experiment: str | None = None

    def make(self, client: Client) -> str:
        """Returns the outcome in words."""
        try:
            if self.experiment is None:
                return f"this host is {client.post(f'/v1/{self.verb}', StateView)['state']}"
            summary = client.post(experiment_path(self.experiment, self.verb), ExperimentSummary)
            return printable(f"{self.experiment} is {summary['state']}")
        except TunedError as error:
            return one_line(error)


def change_of(key: str, target: Target | None) -> Change | None:
    """None if the key needs an experiment and none is chosen."""
    if key == _DRAIN:
        return Change(question="drain this host: trials finish, then the daemon ends", verb="drain")
    if target is None:
        return None
    verb, effect = _OF_EXPERIMENT[key]
    question = f"{verb} {printable(target.experiment)}: {effect}"
    return Change(question=question, verb=verb, experiment=target.experiment)


def one_line(error: Exception) -> str:
    return printable("; ".join(line.strip() for line in str(error).splitlines()))
