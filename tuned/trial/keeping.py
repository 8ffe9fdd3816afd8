"""The words between the daemon and the keeper: a run, those who watch it, and all that a keeper does.

A run is one attempt at one evaluation as a process tree. The keeper knows no study, no point and no budget.
This room owns values and no work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tuned.trial.channel import Answer, nothing_known
from tuned.trial.curve import Curve

if TYPE_CHECKING:
    from tuned.domain.ending import Ending, Pruning
    from tuned.trial.fork_servers import ServerProgram
    from tuned.trial.launch import Launch


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
    #: The daemon's own, as JSON: all by which another daemon can go on with the trial.
    context: object = None
    #: The run that it follows, which nobody needs any more once this one has begun.
    after: str | None = None


def nobody_told(_: str) -> None:
    """For what nobody hears of."""


class Verdict:
    """A rule's word on an attempt while it runs: it is to end, or nothing yet.

    Belongs to the event loop's thread.
    """

    def __init__(self) -> None:
        #: The rule's reason; None while there is none.
        self.pruning: Pruning | None = None
        self._given = asyncio.Event()

    @property
    def is_given(self) -> bool:
        """Whether the attempt is to end."""
        return self._given.is_set()

    def give(self, pruning: Pruning) -> None:
        self.pruning = pruning
        self._given.set()

    def withdraw(self) -> None:
        """The attempt had ended, or had its result, before."""
        self._given.clear()

    async def given(self) -> None:
        """Waits until the attempt is to end."""
        await self._given.wait()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A run that an earlier daemon asked for, and that no daemon has forgotten."""

    key: str
    context: object
    #: Since it began.
    seconds: float
    #: It is gone with all its tree, and its ending is known.
    has_ended: bool
    #: The newest of the daemon that had it.
    notes: Mapping[str, object] = field(default_factory=dict)


#: Carries out a run to its ending. Cancelled: kills its whole tree, then the cancellation goes on. Raises
#: OSError if this host cannot begin it.
CarryOut = Callable[[Run, Watcher], Awaitable["Ending"]]


class Keeper(Protocol):
    """The owner of the processes of this host's trials."""

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        """As ``CarryOut``."""

    def kept(self) -> Sequence[Kept]:
        """The runs that an earlier daemon asked for, and that nobody has resumed."""

    async def resume(self, run: Run, watcher: Watcher) -> Ending:
        """As ``CarryOut``, for a run that is kept: it goes on. It is found by its key alone."""

    async def end(self, key: str) -> None:
        """Kills a run that is kept, if it has not ended, and forgets it."""

    def forget(self, key: str) -> None:
        """The ending of a run is safe, or nobody needs it."""

    def note(self, key: str, notes: Mapping[str, object]) -> None:
        """Keeps this of a run that goes on, as JSON, for a daemon that resumes it."""

    def keep(self, studies: Collection[str | None]) -> None:
        """Lets go of the processes from which no trial is to begin; None stands for all commands."""

    def resize(self, slots: int) -> None:
        """So many runs come at a time from now on."""

    async def written(self) -> None:
        """Waits until the output of runs that have ended is in their files; not long if the disk hangs."""

    async def close(self) -> None:
        """Ends all that is left, once nothing runs any more."""
