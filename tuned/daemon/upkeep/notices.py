"""Tells people news of experiments, for the whole fleet: one host tells each.

A beat's look says that something is due. This host then claims it, sends it, and writes down how that went.
It must never hold up a slot, a beat or a result, or let a secret of a table [notify] into a log.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.retrying import insisted
from tuned.daemon.trials.interpreters import carry_out
from tuned.daemon.upkeep.messages import fresh, message
from tuned.daemon.upkeep.posting import Failed, post
from tuned.domain.ending import Cause
from tuned.domain.news.notices import NO_WISHES, Wishes, pause_seconds
from tuned.errors import DatabaseAway
from tuned.keeper.conversation import KeeperLost
from tuned.storage.queries import experiments
from tuned.storage.trials import notices
from tuned.trial.programs import notify_launch

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tuned.storage.link import Link
    from tuned.storage.trials.notices import Notice
    from tuned.trial.evaluation import Site
    from tuned.trial.keeping import Keeper

_log: FilteringBoundLogger = structlog.get_logger()

#: So many tries at once: each may hold a thread that looks a name up.
AT_ONCE = 2

#: How long a host that leaves tells what is due.
LAST_SECONDS = 10.0


class Notices:
    """The one that tells, on this host. Belongs to the event loop's thread."""

    def __init__(self, link: Link, site: Site, keeper: Keeper) -> None:
        self._link = link
        self._site = site
        self._keeper = keeper
        self._wishes = NO_WISHES
        self._is_due = asyncio.Event()
        #: One command at a time: they share a log.
        self._command = asyncio.Lock()

    def wish(self, wishes: Wishes) -> None:
        """From now on, by these settings."""
        self._wishes = self._link.database.wishes = wishes

    def wake(self) -> None:
        """Something is due in the fleet."""
        self._is_due.set()

    async def run(self) -> None:
        """Loop: tell all that is due, each time that somebody noticed it."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                await self.tell_all()
            except DatabaseAway:
                _log.debug("notifications not looked for")
            except Exception:  # noqa: BLE001 (a loop's edge)
                _log.exception("notifications not looked for")

    async def leave(self) -> None:
        """Tells what is due before this host leaves, within a bound: another one may not come soon."""
        with contextlib.suppress(DatabaseAway, TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self.tell_all()

    async def tell_all(self) -> None:
        """Tries each piece of news that is due, once. Raises DatabaseAway."""
        while claimed := await self._claimed():
            async with asyncio.TaskGroup() as group:
                for notice in claimed:
                    group.create_task(self._try(notice))

    async def _claimed(self) -> list[Notice]:
        claimed: list[Notice] = []
        while len(claimed) < AT_ONCE:
            notice = await self._link.share(notices.claim, self._wishes)
            if notice is None:
                break
            claimed.append(notice)
        return claimed

    async def _try(self, notice: Notice) -> None:
        try:
            failed = await self._told(notice)
        except DatabaseAway:
            # The claim lapses, and the news is due again.
            return
        except Exception:  # noqa: BLE001 (an edge: one experiment must not hold up the others)
            _log.exception("notification not made", experiment=notice.name)
            failed = Failed(problem="it cannot be made")
        if failed is not None:
            await self._settle_failed(notice, failed)

    async def _told(self, notice: Notice) -> Failed | None:
        """Tells it, and settles it if that went well."""
        [summary] = await self._link.share(experiments.summaries, [notice.study_id])
        telling = fresh(notice, summary)
        if telling is not None:
            failed = await self._send(telling, message(telling, summary, self._site.host))
            if failed is not None:
                return failed
            _log.info(
                "notification sent", experiment=notice.name, event_told=notice.occasion.event, id=notice.id
            )
        await insisted(self._link, lambda: self._link.share(notices.settle_told, telling or notice))
        return None

    async def _settle_failed(self, notice: Notice, failed: Failed) -> None:
        pause = max(pause_seconds(notice.tries), failed.pause_seconds)
        is_kept = await insisted(
            self._link,
            lambda: self._link.share(notices.settle_failed, notice, failed.problem, pause),
        )
        tell = _log.warning if is_kept else _log.error
        tell(
            "notification not sent" if is_kept else "notification given up",
            experiment=notice.name,
            problem=failed.problem,
            tries=notice.tries,
            seconds=pause if is_kept else None,
        )

    async def _send(self, notice: Notice, body: bytes) -> Failed | None:
        if notice.wishes.url is not None:
            return await post(notice.wishes.url, body, notice.id)
        assert notice.wishes.command is not None
        async with self._command:
            return await self._run(notice, notice.wishes.command, body)

    async def _run(self, notice: Notice, command: tuple[str, ...], body: bytes) -> Failed | None:
        """Runs a command as the user of trials."""
        launch = notify_launch(
            command,
            body.decode(),
            experiment=notice.name,
            host=self._site.host,
            log=self._site.layout.notify_log,
            installation=self._site.state.installation_id,
            cgroups=self._site.cgroups,
            base=self._site.environment,
        )
        try:
            failure = (await carry_out(self._keeper, launch)).failure
        except (KeeperLost, OSError) as error:
            return Failed(problem=f"the command cannot be run: {type(error).__name__}")
        # It prints no value.
        if failure is None or failure.cause is Cause.NO_VALUE:
            return None
        _log.warning("notify.command failed", experiment=notice.name, reason=failure.message)
        status = failure.detail.get("status")
        return Failed(
            problem=f"the command failed: {failure.cause}" + ("" if status is None else f", status {status}")
        )
