"""The process of a fork server, seen from the daemon: asked for trials in advance, and told to begin them.

It owns each trial that was forked and has not begun: one that cannot begin is killed, with its group. It must
never leave a group for which no trial was forked, or touch a trial that has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from tuned.disk.files import open_memory
from tuned.trial.tree import Adopted, Tree, completely
from tuned.worker.forkserver import MARK_VARIABLE, MESSAGE_BYTES, TRIALS, Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from tuned.trial.cgroup import Cgroup
    from tuned.trial.launch import Launch, Outputs

_log: FilteringBoundLogger = structlog.get_logger()


#: A server that takes longer for a fork hangs.
ANSWER_SECONDS = 60.0


class LimitRefused(OSError):
    """The kernel refused a limit of a trial's group; the server goes on for other trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefork:
    """A trial that was forked already, in a group of its own, and waits at its socket for its order.

    The kernel takes some 10 ms to let a process join a group, and a slot would wait for that. The group has
    no limits before there is a trial: any trial of the server may be the next one.
    """

    tree: Tree
    socket: socket.socket


@dataclass(slots=True, kw_only=True)
class ServerProcess:
    """A server that has begun, our end of the socket to it, and trials that it has forked in advance."""

    tree: Tree
    socket: socket.socket
    #: So many are forked at a time.
    ahead: int
    preforks: list[Prefork] = field(default_factory=list)
    #: It did not answer in time, and is not asked again.
    is_silent: bool = False

    async def start(self, launch: Launch, outputs: Outputs) -> Tree | None:
        """A trial that has begun; None if the process is gone. Raises OSError if it can have no group."""
        while self.preforks or await self._fork(launch):
            prefork = self.preforks.pop()
            await _limit(prefork, launch)
            if not _give(prefork, launch, outputs):
                await completely(prefork.tree.kill())
                continue
            if not self.preforks:
                # Now that one runs: the next one does not wait for a fork.
                try:
                    await self._fork(launch)
                except BaseException:
                    # This trial has begun, and may clean up as any other.
                    await completely(prefork.tree.kill(launch.grace_seconds))
                    raise
            return prefork.tree
        return None

    async def end(self, patience_seconds: float) -> None:
        """Lets it end by itself for so long, and kills it then. Trials that have begun go on."""
        self.socket.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self.tree.ended()
        for prefork in self.preforks:
            prefork.socket.close()
        await asyncio.gather(self.tree.kill(), *(prefork.tree.kill() for prefork in self.preforks))

    async def _fork(self, launch: Launch) -> bool:
        """Has it fork some trials. False if it is gone."""
        if self.is_silent:
            return False
        groups: list[Cgroup | None] = []
        try:
            while len(groups) < min(self.ahead, TRIALS):
                groups.append(create_group(launch, new_mark(launch)))
            return await self._ask_for(groups, patience_seconds(launch))
        finally:
            # Those for which no trial was forked.
            await completely(_clear([group for group in groups if group is not None]))

    async def _ask_for(self, groups: list[Cgroup | None], patience: float) -> bool:
        """Has it fork a trial for each of these groups, and takes out those that have one."""
        pairs = [socket.socketpair() for _ in groups]
        with contextlib.ExitStack() as stack:
            for ours, theirs in pairs:
                ours.setblocking(False)
                stack.enter_context(theirs)
                stack.enter_context(ours)
            paths = [None if group is None else str(group.path) for group in groups]
            try:
                socket.send_fds(self.socket, [json.dumps(paths).encode()], [it.fileno() for _, it in pairs])
                async with asyncio.timeout(patience):
                    answer = await asyncio.get_running_loop().sock_recv(self.socket, MESSAGE_BYTES)
            except (BrokenPipeError, ConnectionResetError):
                answer = b""
            except TimeoutError:
                answer = b""
                self.is_silent = True
            for (ours, _), pid in zip(pairs, answer.split(), strict=False):
                tree = Tree(main=Adopted(int(pid)), mark=self.tree.mark, group=groups.pop(0))
                self.preforks.append(Prefork(tree=tree, socket=ours.dup()))
        if self.is_silent:
            silent = "the process from which trials are forked does not answer"
            _log.warning(silent, pid=self.tree.main.pid, seconds=patience)
        elif not answer:
            _log.warning("the process from which trials are forked is gone", pid=self.tree.main.pid)
        return bool(answer)


def patience_seconds(launch: Launch) -> float:
    """How long a fork may take: it is a matter of milliseconds, and the trial is to have time left."""
    timeout = launch.timeout_seconds
    return ANSWER_SECONDS if timeout is None else min(ANSWER_SECONDS, timeout / 2)


async def _limit(prefork: Prefork, launch: Launch) -> None:
    """Gives the limits of a trial to its group. Raises LimitRefused, and then it is gone."""
    group = prefork.tree.group
    if group is None or launch.cgroups is None:
        return
    try:
        group.limit(launch.limits, launch.cgroups.controllers)
    except OSError as error:
        prefork.socket.close()
        await completely(prefork.tree.kill())
        raise LimitRefused(error.errno, error.strerror, error.filename) from None


def _give(prefork: Prefork, launch: Launch, outputs: Outputs) -> bool:
    """Gives a trial its order, which it then carries out; False if it was gone."""
    prefork.tree.mark = launch.mark
    with prefork.socket, open_memory(_order(launch)) as order:
        try:
            socket.send_fds(prefork.socket, [b"."], [order.fileno(), *outputs])
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True


def create_group(launch: Launch, mark: str) -> Cgroup | None:
    """A control group for the processes with this mark; None if there are no groups. Raises OSError."""
    name = mark.replace("/", "-")
    return None if launch.cgroups is None else launch.cgroups.create(name)


async def _clear(groups: Sequence[Cgroup]) -> None:
    await asyncio.gather(*(group.clear() for group in groups))


def new_mark(launch: Launch) -> str:
    """A mark as long as those of trials, by which the next daemon finds a server that is left."""
    installation_id, _, _ = launch.mark.partition("/")
    return f"{installation_id}/{uuid4().hex}"


def _order(launch: Launch) -> bytes:
    environment = {**launch.environment, MARK_VARIABLE: launch.mark}
    order = Order(argv=list(launch.argv), environment=environment, workdir=str(launch.workdir))
    return json.dumps(order).encode()
