"""The words between the daemon and the keeper: a run, those who watch it, and all that a keeper does.

A run is one attempt at one evaluation as a process tree. The keeper knows no study, no point and no budget.
This room owns values and no work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tuned.trial.channel import Answer, nothing_known
from tuned.trial.curve import Curve

if TYPE_CHECKING:
    from tuned.domain.ending import Ending
    from tuned.trial.fork_servers import ServerProgram
    from tuned.trial.launch import Launch
    from tuned.trial.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that it takes to carry out one attempt."""

    #: ``<claim>-<replicate>-<attempt>``: no other run has it.
    key: str
    launch: Launch
    #: The study's uid: its trials are forked from one process.
    study: str
    #: The program of that process; None if the trials are commands.
    program: ServerProgram | None
    #: Of the log records about it, and of its output in the journal.
    fields: Mapping[str, object] = field(default_factory=dict)


def nobody_told(_: str) -> None:
    """For what nobody hears of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Those who hear of a run while it lasts, and who may end it."""

    #: It is given each report.
    curve: Curve = field(default_factory=Curve)
    #: Answers the questions of an objective.
    answer: Answer = nothing_known
    #: Ends the run once it is given; None if no rule looks at the trial.
    verdict: Verdict | None = None
    #: Is told why the objective's module cannot be forked.
    on_unforked: Callable[[str], object] = nobody_told


#: Carries out a run to its ending. Cancelled: kills its whole tree, then the cancellation goes on. Raises
#: OSError if this host cannot begin it.
CarryOut = Callable[[Run, Watcher], Awaitable["Ending"]]


class Keeper(Protocol):
    """The owner of the processes of this host's trials."""

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        """As ``CarryOut``."""

    def keep(self, studies: Collection[str | None]) -> None:
        """Lets go of the processes from which no trial is to begin; None stands for all commands."""

    def resize(self, slots: int) -> None:
        """So many runs come at a time from now on."""

    async def written(self) -> None:
        """Waits until the output of runs that have ended is in their files; not long if the disk hangs."""

    async def close(self) -> None:
        """Ends all that is left, once nothing runs any more."""
