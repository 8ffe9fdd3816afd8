"""The keeper as a process of its own, seen from the daemon: found or begun, and begun anew if it dies.

It may be older than the daemon, and outlives it, unless ``close`` ends it. This room must never decide what
becomes of a run that died with its keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from tuned import __version__
from tuned.errors import Unstartable
from tuned.keeper import conversation, door, protocol
from tuned.keeper.conversation import Conversation, KeeperLost
from tuned.keeper.wire import Wire
from tuned.trial import process_table
from tuned.trial.launch import own_environment

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.config.trials_service import TrialsService
    from tuned.domain.ending import Ending
    from tuned.keeper.chores import Chore
    from tuned.systemd.log import Format
    from tuned.trial.evaluation import Site
    from tuned.trial.keeping import Kept, Run, Watcher

T = TypeVar("T")

_log: FilteringBoundLogger = structlog.get_logger()

#: How long a service may take to begin.
SERVICE_SECONDS = 30.0

PAUSE_SECONDS = 0.1

#: A keeper that is killed before it answers is begun again, as one that is killed later is; not for ever.
MOST_KILLED = 3


class KeeperProcess:
    """One keeper, or one after the other. Belongs to the event loop's thread."""

    def __init__(self, site: Site, slots: int, log_format: Format, patience_seconds: float) -> None:
        """The keeper lives without a daemon for ``patience_seconds``."""
        self._site = site
        self._patience_seconds = patience_seconds
        self._slots = slots
        self._log_format = log_format
        #: None until the first is known.
        self._studies: frozenset[str | None] | None = None
        self._conversation: Conversation | None = None
        self._beginning = asyncio.Lock()
        self._is_closed = False
        #: Those that this daemon began. They outlive these objects.
        self._children: list[subprocess.Popen[bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Finds the one that an earlier daemon left, or begins one. Raises Unstartable."""
        try:
            await self._ready()
        except KeeperLost:
            pass  # The daemon is stopping already.
        except OSError as error:
            raise Unstartable(f"cannot begin the process that runs the trials: {error}") from error
        except protocol.UnknownVersion as error:
            raise Unstartable(
                f"{error}: start the tuned that began it again, and let that drain (tunectl drain --wait), "
                "or kill that process, and its trials with it"
            ) from error

    async def run(self, run: Run, watcher: Watcher) -> Ending:
        """As ``CarryOut``. Raises KeeperLost too."""
        try:
            return await (await self._ready()).run(run, watcher)
        except KeeperLost:
            # It may have ended before its keeper did.
            return await self.resume(run, watcher)
        finally:
            self._note_end()

    def kept(self) -> Sequence[Kept]:
        return () if self._conversation is None else self._conversation.kept

    async def kept_when_ready(self) -> Sequence[Kept]:
        """As ``kept``, which is empty until the keeper answers; waits for that. Raises Unstartable."""
        await self.begin()
        return self.kept()

    async def resume(self, run: Run, watcher: Watcher) -> Ending:
        """As ``CarryOut``. Raises KeeperLost too."""
        try:
            return await self._resumed(run, watcher)
        except KeeperLost:
            # It too may have ended before its keeper did.
            return await self._resumed(run, watcher)

    async def _resumed(self, run: Run, watcher: Watcher) -> Ending:
        try:
            return await (await self._ready()).resume(run.key, watcher)
        except OSError as error:
            raise KeeperLost(str(error)) from error
        finally:
            self._note_end()

    async def end(self, key: str) -> None:
        if self._conversation is not None:
            await self._conversation.end_kept(key)

    def forget(self, key: str) -> None:
        self._tell({"kind": "forget", "key": key})

    def note(self, key: str, notes: Mapping[str, object]) -> None:
        self._tell({"kind": "note", "key": key, "notes": notes})

    def keep(self, studies: Collection[str | None]) -> None:
        wanted = frozenset(studies)
        if wanted != self._studies:
            self._studies = wanted
            self._tell_studies()

    def resize(self, slots: int) -> None:
        if slots != self._slots:
            self._slots = slots
            self._tell({"kind": "resize", "slots": slots})

    def log_as(self, log_format: Format) -> None:
        """The form of its records from now on."""
        self._log_format = log_format
        self._tell({"kind": "log", "log_format": log_format})

    async def written(self) -> None:
        if self._conversation is not None:
            await self._conversation.flushed()

    async def step(self, chore: Chore[T]) -> tuple[list[T], bool]:
        """As ``daemon.trials.chores.Doer``."""
        try:
            step = await (await self._ready()).step(chore)
        except KeeperLost as error:
            raise OSError(str(error)) from error
        if step["error"] is not None:
            raise OSError(*step["error"])
        return [chore.understood(each) for each in step["found"]], step["is_done"]

    async def close(self) -> None:
        """Kills all that is left, and waits until the process is gone."""
        self._is_closed = True
        async with self._beginning:
            if self._conversation is None:
                return
            if not self._conversation.is_over:
                await self._conversation.end()
            # One that hung, or was killed meanwhile, could not.
            await process_table.kill_installation(self._site.state.installation_id)
            if self._site.cgroups is not None:
                await self._site.cgroups.kill_leftovers(self._site.state.installation_id)

    async def end_living(self) -> None:
        """Ends the one that an earlier daemon left, if there is one, with all that it runs."""
        found = await self._found()
        self._is_closed = True
        if found is not None:
            await found.end()

    def leave(self) -> None:
        """Leaves it, with all that it runs, to the next daemon. Those that wait for a run here lose it."""
        self._is_closed = True
        if self._conversation is not None:
            self._conversation.leave()

    def _renew(self) -> None:
        """Begins another one: it kills at once what a dead one has left."""
        self._children = [child for child in self._children if child.poll() is None]
        if not self._is_closed:
            self._do(self._renewed())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renewed(self) -> None:
        try:
            await self._ready()
        except OSError as error:
            # The next run tries again.
            _log.error("the keeper cannot be begun", error=str(error))
        except KeeperLost:
            pass  # Ended meanwhile.

    def _tell_studies(self) -> None:
        if self._studies is not None:
            self._tell({"kind": "keep", "studies": [*self._studies]})

    def _tell(self, message: protocol.ToKeeper) -> None:
        if self._conversation is not None:
            self._conversation.send(message)

    async def _ready(self) -> Conversation:
        async with self._beginning:
            if self._is_closed:
                raise KeeperLost("the keeper was ended")
            if self._conversation is None or self._conversation.is_over:
                self._conversation = await self._newest()
                if (around := self._conversation.surroundings) is not None:
                    self._site.learn(
                        around["cgroups"], around["reason"], around["environment"], around["gpus"]
                    )
                self._tell_studies()
            return self._conversation

    async def _newest(self) -> Conversation:
        """Of our own release, unless an older one has trials."""
        found = await self._found()
        if found is not None and found.is_idle and self._is_outdated(found):
            await found.end()
            found = None
        return found or await self._begun()

    @staticmethod
    def _is_outdated(conversation: Conversation) -> bool:
        return conversation.release != __version__

    def _note_end(self) -> None:
        """A keeper of another release is replaced when it has no trial."""
        found = self._conversation
        if found is not None and found.is_idle and self._is_outdated(found) and not self._is_closed:
            self._do(self._replaced(found))

    async def _replaced(self, outdated: Conversation) -> None:
        async with self._beginning:
            if outdated.is_idle and not outdated.is_over and not self._is_closed:
                _log.info("keeper of another release replaced", release=outdated.release)
                # Its end begins another one.
                await outdated.end()

    async def _found(self) -> Conversation | None:
        """The talk with a living keeper; None if there is none, or it hangs."""
        service, state = self._site.service, self._site.state
        connected = door.knock(state.keeper) if service is None else door.call(str(service.socket))
        if connected is None:
            return None
        wire = await Wire.on(connected)
        # Before it answers, it waits for the runs that were just being killed.
        patience_seconds = conversation.SILENT_SECONDS + self._site.grace_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                found = await Conversation.begin(wire, self._hello(), self._renew)
                if found is not None:
                    _log.info("keeper found", pid=found.pid, trials=len(found.kept))
                return found
        _log.error("keeper hangs: another one takes its place")
        return None

    async def _served(self, service: TrialsService) -> Conversation:
        """The service manager begins one when it is called; the one before may just be ending."""
        deadline = asyncio.get_running_loop().time() + SERVICE_SECONDS
        while (found := await self._found()) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise OSError(f"{service.user}.service does not answer on {service.socket}")
            await asyncio.sleep(PAUSE_SECONDS)
        return found

    async def _begun(self) -> Conversation:
        if self._site.service is not None:
            return await self._served(self._site.service)
        deaths = 0
        while True:
            child, begun = await self._begin_once()
            if begun is not None:
                return begun
            status, deaths = await asyncio.to_thread(child.wait), deaths + 1
            # One that ended by itself would do so again.
            if status >= 0 or deaths == MOST_KILLED:
                raise OSError(f"it ended with status {status}")
            _log.error("keeper killed as it began", signal=-status)

    async def _begin_once(self) -> tuple[subprocess.Popen[bytes], Conversation | None]:
        """A new one, and the talk with it; None if it ended before it answered."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = _executed(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._children.append(child)
        return child, await Conversation.begin(await Wire.on(ours), self._hello(), self._renew)

    def _hello(self) -> protocol.Hello:
        cgroups = self._site.cgroups
        return {
            "kind": "hello",
            "version": protocol.VERSION,
            "installation": self._site.state.installation_id,
            "directory": str(self._site.layout.keeper),
            "cgroups": None if cgroups is None else str(cgroups.path),
            "slots": self._slots,
            "host": self._site.host,
            "log_format": self._log_format,
            "patience_seconds": self._patience_seconds,
        }


def _environment() -> dict[str, str]:
    """The daemon's without its secrets; the journal knows its standard error by one more."""
    journal = {name: value for name, value in os.environ.items() if name == "JOURNAL_STREAM"}
    return {**own_environment(), **journal}


def _executed(descriptor: int) -> subprocess.Popen[bytes]:
    """Not asyncio's, which kills its child once this process forgets that."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tuned.keeper.main", str(descriptor)],
        cwd="/", env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        pass_fds=(descriptor,), start_new_session=True,
    )  # fmt: skip
