"""The interface between the socket and the daemon: the methods behind the routes.

It holds signatures and their promises; daemon/api.py keeps them. It never imports the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from tuned import events
    from tuned.domain.ending import Cause
    from tuned.domain.states import HostCommand
    from tuned.protocol.disk import CleanView
    from tuned.protocol.experiments import (
        DeletedView,
        ExperimentSummary,
        ExperimentView,
        ReplacedView,
        RetryView,
    )
    from tuned.protocol.fields import HostStateName, TrialStateName
    from tuned.protocol.fleet import FindingView, FixedView, HostReply, HostView
    from tuned.protocol.host import Status
    from tuned.protocol.tables import ExportView, ImportedView
    from tuned.protocol.trials import BestsView, ImprovementsView, StoryView, TrialView


class Host(Protocol):
    """The daemon, as the socket sees it. A method raises a TunedError to refuse."""

    @property
    def events(self) -> events.Events:
        """The daemon publishes here; ``serve`` closes it at its end."""

    async def reach_database(self, seconds: float) -> None:
        """Waits until the database can be asked, for at most so long. Raises DatabaseAway."""

    async def status(self, *, has_output: bool = False) -> Status:
        """Never raises DatabaseAway: answers with the last known figures.

        With output: also with the last line that each running trial has printed.
        """

    async def metrics(self) -> bytes:
        """The status and more in Prometheus' text format. Never raises DatabaseAway."""

    async def experiments(self) -> Sequence[ExperimentSummary]:
        """All that tuned has in the database, the ended ones too; the newest last."""

    async def experiment(self, name: str) -> ExperimentView:
        """Whole: the socket leaves out the fields that are TrustedOnly. Raises NotFound."""

    async def trials(
        self,
        name: str,
        *,
        state: TrialStateName | None,
        before: int | None,
        limit: int,
        is_by_value: bool = False,
    ) -> Sequence[TrialView]:
        """The newest ``limit`` trials whose number is below ``before``, newest first. Raises NotFound.

        By value: the trials with the best first values, the best first; ``before`` is None.
        """

    async def story(self, name: str, number: int) -> StoryView:
        """One trial and what became of its point. Raises NotFound."""

    async def best(self, name: str, limit: int | None = None) -> BestsView:
        """The best trial, or the front; empty while no trial with a value is feasible. Raises NotFound.

        With a limit: the best so many evaluated trials, the best first, or the front's first.
        """

    async def improvements(self, name: str) -> ImprovementsView:
        """The feasible trials that were better than all before them. Raises NotFound."""

    async def logs(
        self, name: str, number: int | None, *, follow: bool, is_setup: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The output of a trial on this host (None: the newest one here); with ``follow``, until it ends.

        Or that of the set-up of its code. With ``tail``, it begins so many bytes before its present end.
        Raises NotFound at once, before the first chunk; the message names the host that has it, if known.
        """

    async def hosts(self) -> Sequence[HostView]:
        """The fleet."""

    async def forget(self, name: str) -> Sequence[HostView]:
        """Removes a host of the fleet that is dead or stopped. Raises NotFound, Conflict, DatabaseAway."""

    async def drain(self) -> HostStateName:
        """Accepts, and returns the state that follows; does not wait for the end."""

    async def abort(self) -> HostStateName:
        """As drain()."""

    async def restart(self) -> HostStateName:
        """As drain(); the state is that to which it comes back. Raises Conflict if it would not."""

    async def command(self, host: str, command: HostCommand, user: str) -> HostReply:
        """Has any host of the fleet obey.

        Raises NotFound, DatabaseAway, Conflict if it is dead, refuses or does not answer.
        """

    async def cancel(self, name: str, user: str) -> ExperimentSummary:
        """Raises NotFound, Conflict if it has ended, DatabaseAway. Returns its state after the change."""

    async def pause(self, name: str) -> ExperimentSummary:
        """As cancel()."""

    async def resume(self, name: str) -> ExperimentSummary:
        """As cancel()."""

    async def retry(self, name: str, cause: Cause | None) -> RetryView:
        """Frees failed points. Raises NotFound, Conflict if it is cancelled, DatabaseAway."""

    async def replace(self, name: str, content: bytes, user: str, *, code_of: int | None) -> ReplacedView:
        """Another definition, from a whole file; with the snapshot that this uid gave, if any.

        Raises InvalidInput, NotFound, Conflict, DatabaseAway.
        """

    async def export(self, name: str, *, after: int, limit: int, has_reports: bool) -> ExportView:
        """The oldest ``limit`` trials whose number is above ``after``, of any study. Raises NotFound."""

    async def import_rows(self, name: str, rows: bytes) -> ImportedView:
        """Takes rows of a table in, as lines of JSON. Raises InvalidInput, NotFound, DatabaseAway."""

    async def delete(self, name: str, *, is_forced: bool) -> DeletedView:
        """Raises NotFound, DatabaseAway, Conflict if other programs have trials in it."""

    async def clean(self, name: str | None, *, is_dry: bool) -> CleanView:
        """Removes what the host's limits do not let stay, or all that an experiment left on this host.

        If it is dry, it removes nothing. Raises NotFound, DatabaseAway, Conflict if it has not ended.
        """

    async def doctor(self) -> Sequence[FindingView]:
        """All that is wrong. Never raises DatabaseAway: that is a finding."""

    async def fix(self) -> FixedView:
        """Mends each finding that can be mended safely."""
