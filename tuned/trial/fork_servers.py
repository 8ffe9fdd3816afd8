"""Warm processes, one for each experiment that needs it, from which trials are forked: the daemon's side.

One process of ``tuned.worker.command`` or ``tuned.worker.warm_objective`` serves an experiment that has
trials to begin here. A trial is a child of the daemon, not of its server: it does not notice the end of that,
and a server that is gone is made anew for the next trial. A server must never outlive the need for it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tuned.experiment.file import UNLIMITED
from tuned.trial import launch as launch_module
from tuned.trial.preforks import ServerProcess, create_group, new_mark
from tuned.trial.tree import Tree, completely
from tuned.worker.forkserver import MARK_VARIABLE, MESSAGE_BYTES, READY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from tuned.experiment.experiment import Experiment
    from tuned.trial.launch import Launch, Start


#: How long a server that is not needed any more may take to end by itself.
END_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """The program of a process from which trials are forked."""

    #: The socket and the group come last.
    argv: tuple[str, ...]
    #: Complete but for the mark.
    environment: Mapping[str, str]
    workdir: str | Path
    #: The function whose module it imports, if it does.
    imports: str | None = None

    @classmethod
    def of_commands(cls) -> Self:
        """One for all commands: the environment of their experiment might not suit our Python."""
        argv = (sys.executable, "-P", "-m", "tuned.worker.command")
        return cls(argv=argv, environment=launch_module.own_environment(), workdir="/")

    @classmethod
    def of(cls, experiment: Experiment, host: str, workdir: Path) -> Self:
        """For trials of an experiment; ``workdir`` is for an import that has no directory of its own."""
        objective = experiment.objective
        if objective.python is None or not objective.fork:
            return cls.of_commands()
        return cls(
            argv=(sys.executable, "-m", "tuned.worker.warm_objective", *experiment.worker_arguments),
            environment=launch_module.common_environment(experiment, host),
            workdir=objective.workdir or workdir,
            imports=objective.python,
        )


class ForkServer:
    """Forks the trials of one experiment, from a process that is made when a trial needs one."""

    def __init__(self, program: ServerProgram) -> None:
        self._program = program
        self._process: ServerProcess | None = None
        #: One at a time asks for a trial; the others would wait for the same import anyway.
        self._lock = asyncio.Lock()

    async def start(self, launch: Launch, stdout: int, stderr: int) -> Tree:
        """Forks a trial. If its import failed, that is the trial.

        Raises OSError if the module cannot be forked, or this host has no more processes.
        """
        async with self._lock:
            try:
                if self._process is not None and (tree := await self._process.start(launch, stdout, stderr)):
                    return tree
                await self._end(0)
                if failed := await self._begin(launch, stdout, stderr):
                    return failed
                assert self._process is not None
                if tree := await self._process.start(launch, stdout, stderr):
                    return tree
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

    async def _begin(self, launch: Launch, stdout: int, stderr: int) -> Tree | None:
        """Has it ready to fork; if it imports, then with the output of the trial that needs it.

        If the import failed, how it ended.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        name = self._program.imports
        with theirs:
            try:
                # The rest of its standard error is for the daemon's own log.
                outputs = (stdout, stderr) if name else (subprocess.DEVNULL, None)
                tree = self._spawn(launch, theirs, *outputs)
            except BaseException:
                ours.close()
                raise
        self._process = ServerProcess(tree=tree, socket=ours)
        answer = await asyncio.get_running_loop().sock_recv(ours, MESSAGE_BYTES)
        if answer == READY:
            return None
        if answer:
            raise OSError(f"{name} cannot be forked: {answer.decode()}; set [objective] fork = false")
        status = await tree.ended()
        if name is None:
            raise OSError(f"the process from which commands are begun ended with status {status}")
        await self._end(0)
        return tree

    def _spawn(self, launch: Launch, theirs: socket.socket, stdout: int, stderr: int | None) -> Tree:
        mark = new_mark(launch)
        group = create_group(launch, mark, UNLIMITED)
        place = "" if group is None else str(group.path)
        try:
            main = subprocess.Popen(
                (*self._program.argv, str(theirs.fileno()), place),
                cwd=self._program.workdir,
                env={**self._program.environment, MARK_VARIABLE: mark},
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
    """The servers of one host, by the studies' uids. Belongs to the event loop's thread."""

    def __init__(self, host: str, workdir: Path) -> None:
        self._host = host
        self._workdir = workdir
        self._servers: dict[str, ForkServer] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def start_of(self, experiment: Experiment, uid: str) -> Start:
        """How a trial of this experiment begins."""

        async def start(launch: Launch, stdout: int, stderr: int) -> Tree:
            if uid not in self._servers:
                self._servers[uid] = ForkServer(ServerProgram.of(experiment, self._host, self._workdir))
            return await self._servers[uid].start(launch, stdout, stderr)

        return start

    def keep(self, uids: Collection[str]) -> None:
        """Ends the servers of all other studies."""
        for uid in self._servers.keys() - uids:
            # A trial that waits for it just now comes before its end, and a later one makes another server.
            task = asyncio.create_task(self._servers.pop(uid).end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Kills all of them, once no trial is started any more."""
        servers, self._servers = self._servers, {}
        await asyncio.gather(*self._ending, *(server.end(0) for server in servers.values()))
