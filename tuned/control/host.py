"""What the daemon offers to the control socket: the methods behind the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from tuned import events
    from tuned.domain.ending import Cause
    from tuned.protocol import (
        AmendedView,
        BestView,
        ExperimentSummary,
        ExperimentView,
        FindingView,
        FixedView,
        HostStateName,
        HostView,
        RetryView,
        Status,
        StoryView,
        TrialStateName,
        TrialView,
    )


class Host(Protocol):
    """What the daemon offers to the socket. A method raises a TunedError to refuse."""

    @property
    def events(self) -> events.Events:
        """Where the daemon publishes what happens; ``serve`` closes it at its end."""

    async def status(self) -> Status:
        """Never raises DatabaseAway: answers with what was last known."""

    async def experiments(self) -> Sequence[ExperimentSummary]:
        """All that tuned has in the database, the ended ones too; the newest last."""

    async def experiment(self, name: str) -> ExperimentView:
        """With ``env``, which the socket leaves out for those who may not see it. Raises NotFound."""

    async def trials(
        self, name: str, *, state: TrialStateName | None, before: int | None, limit: int
    ) -> Sequence[TrialView]:
        """The newest ``limit`` trials whose number is below ``before``, newest first. Raises NotFound."""

    async def story(self, name: str, number: int) -> StoryView:
        """One trial and what became of its point. Raises NotFound."""

    async def best(self, name: str) -> Sequence[BestView]:
        """The best trial, or the front; empty while there is no value. Raises NotFound."""

    async def logs(self, name: str, number: int | None, *, follow: bool) -> AsyncGenerator[bytes, None]:
        """What a trial printed on this host (None: the newest one here); with ``follow``, until it ends.

        Raises NotFound at once, before the first chunk; the message names the host that has it, if known.
        """

    async def hosts(self) -> Sequence[HostView]:
        """The fleet."""

    async def drain(self) -> HostStateName:
        """Accepts, and returns the state that follows; does not wait for the end."""

    async def abort(self) -> HostStateName:
        """As drain()."""

    async def cancel(self, name: str) -> ExperimentSummary:
        """Raises NotFound, Conflict if it has ended, DatabaseAway. Returns what it is then."""

    async def pause(self, name: str) -> ExperimentSummary:
        """As cancel()."""

    async def resume(self, name: str) -> ExperimentSummary:
        """As cancel()."""

    async def retry(self, name: str, cause: Cause | None) -> RetryView:
        """Frees failed points. Raises NotFound, Conflict if it is cancelled, DatabaseAway."""

    async def replace(self, name: str, content: bytes) -> AmendedView:
        """Another budget, from a whole file. Raises InvalidInput, NotFound, Conflict, DatabaseAway."""

    async def doctor(self) -> Sequence[FindingView]:
        """What is wrong. Never raises DatabaseAway: that is a finding."""

    async def fix(self) -> FixedView:
        """Mends what can be mended safely."""
