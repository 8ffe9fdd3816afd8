"""Warm processes from which trials are forked, one pool for a host: the daemon's side.

One process of ``tuned.worker.command`` serves all commands, and one of ``tuned.worker.warm_objective`` each
of the Python objectives that were used last, at most as many as slots. A trial is a child of the daemon, not
of its server: it does not notice the end of that, and a server that is gone is made anew for the next trial.
A server must never outlive the need for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog

from tuned.trial.launch import own_environment
from tuned.trial.preforks import (
    ANSWER_SECONDS,
    LimitRefused,
    ServerProcess,
    create_group,
    new_mark,
    patience_seconds,
)
from tuned.trial.tree import Tree, completely
from tuned.worker.forkserver import IMPORTED, MARK_VARIABLE, MESSAGE_BYTES, READY, TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from structlog.typing import FilteringBoundLogger

    from tuned.trial.launch import Launch, Outputs, Start


_log: FilteringBoundLogger = structlog.get_logger()

#: How long a server that is not needed any more may take to end by itself.
END_SECONDS = 1.0


#: Of a server that hangs as it forks.
SILENT = "the process that imported it did not answer in time"


class Unforkable(Exception):
    """The module of an objective cannot be forked; its trials must import it one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """The program of a process from which trials are forked."""

    #: The socket and the group come last.
    argv: tuple[str, ...]
    #: Complete but for the mark.
    environment: Mapping[str, str]
    workdir: str
    #: The function whose module it imports, if it does.
    imports: str | None = None

    @classmethod
    def of_commands(cls) -> Self:
        """One for all commands: the environment of their experiment might not suit our Python."""
        argv = (sys.executable, "-P", "-m", "tuned.worker.command")
        return cls(argv=argv, environment=own_environment(), workdir="/")


class ForkServer:
    """Forks trials of one program, from a process that is made when a trial needs one."""

    def __init__(self, program: ServerProgram, ahead: int = TRIALS) -> None:
        #: So many trials are forked in advance.
        self.ahead = ahead
        #: So many trials are just being begun.
        self.beginning = 0
        self.program = program
        self._process: ServerProcess | None = None
        #: Why its module cannot be forked, once that is known.
        self._hindrance = ""
        #: One at a time asks for a trial; the others would wait for the same import anyway.
        self._lock = asyncio.Lock()

    async def start(self, launch: Launch, outputs: Outputs) -> Tree:
        """Forks a trial. If its import failed, that is the trial.

        Raises Unforkable if the module cannot be forked, OSError if this host has no more processes.
        """
        self.beginning += 1
        try:
            return await self._start(launch, outputs)
        finally:
            self.beginning -= 1

    async def _start(self, launch: Launch, outputs: Outputs) -> Tree:
        async with self._lock:
            if self._hindrance:
                raise Unforkable(self._hindrance)
            if self._process is not None:
                self._process.ahead = self.ahead
            try:
                if self._process is not None and (tree := await self._process.start(launch, outputs)):
                    return tree
                self._give_up_if_silent()
                await self._end(0)
                if failed := await self._begin(launch, outputs):
                    return failed
                assert self._process is not None
                if tree := await self._process.start(launch, outputs):
                    return tree
                self._give_up_if_silent()
            except LimitRefused:
                raise
            except BaseException:
                # Its answer may come later, when nobody waits for it: the next trial gets another one.
                await completely(self._end(0))
                raise
            raise OSError("the process from which trials are forked ended as it was asked for one")

    async def end(self, patience_seconds: float = END_SECONDS) -> None:
        """Ends the process, if there is one, once the trial that is just being started has begun."""
        async with self._lock:
            await self._end(patience_seconds)

    async def _end(self, patience_seconds: float) -> None:
        ended, self._process = self._process, None
        if ended is not None:
            await ended.end(patience_seconds)

    def _give_up_if_silent(self) -> None:
        """A module whose process hangs at a fork would only do so again; that of commands is made anew."""
        if self._process is not None and self._process.is_silent and self.program.imports:
            self._refuse(SILENT)

    def _refuse(self, hindrance: str) -> None:
        self._hindrance = (
            f"each trial imports {self.program.imports} anew, because it cannot be forked: {hindrance}"
        )
        raise Unforkable(self._hindrance)

    async def _begin(self, launch: Launch, outputs: Outputs) -> Tree | None:
        """Has it ready to fork; if it imports, then with the output of the trial that needs it.

        If the import failed, how it ended.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        name = self.program.imports
        with theirs:
            try:
                # The rest of its standard error is for the daemon's own log.
                stdout, stderr = outputs[:2] if name else (subprocess.DEVNULL, None)
                tree = self._spawn(launch, theirs, stdout, stderr)
            except BaseException:
                ours.close()
                raise
        self._process = ServerProcess(tree=tree, socket=ours, ahead=self.ahead)
        loop = asyncio.get_running_loop()
        with _told_if_slow(name):
            answer = await loop.sock_recv(ours, MESSAGE_BYTES)
        if answer == IMPORTED:
            try:
                async with asyncio.timeout(patience_seconds(launch)):
                    answer = await loop.sock_recv(ours, MESSAGE_BYTES)
            except TimeoutError:
                self._refuse(SILENT)
        if answer == READY:
            return None
        if answer:
            self._refuse(answer.decode())
        status = await tree.ended()
        if name is None:
            raise OSError(f"the process from which commands are begun ended with status {status}")
        await self._end(0)
        return tree

    def _spawn(self, launch: Launch, theirs: socket.socket, stdout: int, stderr: int | None) -> Tree:
        mark = new_mark(launch)
        group = create_group(launch, mark)
        place = "" if group is None else str(group.path)
        try:
            main = subprocess.Popen(
                (*self.program.argv, str(theirs.fileno()), place),
                cwd=self.program.workdir,
                env={**self.program.environment, MARK_VARIABLE: mark},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            if group is not None:
                group.remove()
            raise
        return Tree(main=main, mark=mark, group=group)


class ForkServers:
    """The servers of one host. Belongs to the event loop's thread."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        #: By the study's uid, or None for all commands; the one that was used last comes last.
        self._servers: dict[str | None, ForkServer] = {}
        self._ending: set[asyncio.Task[None]] = set()
        #: The studies whose modules cannot be forked, until none of their trials is to begin here.
        self._unforkable: set[str] = set()

    def start_of(self, uid: str, program: ServerProgram | None, tell: Callable[[str], object]) -> Start:
        """How a trial of this study begins: from a process of this program, or from that of all commands.

        ``tell`` is told if the program's module cannot be forked, and why. Each trial then imports the module
        anew, as with ``fork = false``.
        """

        async def start(launch: Launch, outputs: Outputs) -> Tree:
            try:
                return await self._server(uid, program).start(launch, outputs)
            except Unforkable as error:
                tell(str(error))
                self._unforkable.add(uid)
                if uid in self._servers:
                    self._retire(uid)
            return await self._server(uid, program).start(launch, outputs)

        return start

    def keep(self, uids: Collection[str | None]) -> None:
        """Ends the servers that none of these studies needs; None is all those that run commands."""
        self._unforkable.intersection_update(uid for uid in uids if uid is not None)
        needed = {None if uid in self._unforkable else uid for uid in uids}
        for key in self._servers.keys() - needed:
            self._retire(key)

    def resize(self, slots: int) -> None:
        self._slots = slots
        self._trim()

    async def close(self) -> None:
        """Kills all of them, once no trial is started any more."""
        servers, self._servers = self._servers, {}
        await asyncio.gather(*self._ending, *(server.end(0) for server in servers.values()))

    def _server(self, uid: str, program: ServerProgram | None) -> ForkServer:
        key = None if program is None or uid in self._unforkable else uid
        if key is None or program is None:
            program = ServerProgram.of_commands()
        elif key in self._servers and self._servers[key].program != program:
            # A person replaced the objective.
            self._retire(key)
        server = self._servers.pop(key, None)
        if server is None:
            server = ForkServer(program)
        server.ahead = min(TRIALS, self._slots)
        # It is not used yet, and so not counted: the others make room for it.
        self._trim(coming=key is not None)
        self._servers[key] = server
        return server

    def _trim(self, *, coming: bool = False) -> None:
        """Ends the Python objectives' servers beyond the slots, the one that was used longest ago first."""
        imported = [key for key in self._servers if key is not None]
        surplus = len(imported) + coming - self._slots
        idle = [key for key in imported if not self._servers[key].beginning]
        for key in idle[: max(0, surplus)]:
            self._retire(key)

    def _retire(self, key: str | None) -> None:
        # A trial that waits for it just now comes before its end, and a later one makes another server.
        task = asyncio.create_task(self._servers.pop(key).end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


@contextlib.contextmanager
def _told_if_slow(imports: str | None) -> Iterator[None]:
    """Tells of an import that takes long, for which all trials of its experiment wait."""
    seconds = ANSWER_SECONDS
    slow = functools.partial(_log.warning, "an import takes long", objective=imports, seconds=seconds)
    telling = asyncio.get_running_loop().call_later(seconds, slow)
    try:
        yield
    finally:
        telling.cancel()
