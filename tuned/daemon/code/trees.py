"""The code of experiments on this host: fetched, unpacked and prepared once, before the first trial with it.

No slot waits for that, and no point is held. A tree is looked at again after a crash of a trial. This room
must never run anything but the set-up, which runs as a trial does, or write a file: the user of trials does.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import structlog

from tuned.daemon.trials.chores import done
from tuned.disk.code.archive import Damaged
from tuned.disk.code.trees import Tree, tree_of
from tuned.domain.ending import Cause
from tuned.domain.snapshot import shown
from tuned.errors import NotFound, TunedError
from tuned.experiment.experiment import defined
from tuned.experiment.tables.code import LARGEST_LIMIT
from tuned.keeper.chores import (
    clearing_code,
    finishing_code,
    receiving_code,
    tidying_code,
    unpacking_code,
    verifying_code,
)
from tuned.keeper.conversation import KeeperLost
from tuned.storage import snapshots
from tuned.trial.programs import setup_launch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from tuned.daemon.trials.chores import Doer
    from tuned.daemon.trials.interpreters import CarryOut
    from tuned.experiment.experiment import Experiment
    from tuned.storage.link import Link
    from tuned.trial.evaluation import Site

_log: FilteringBoundLogger = structlog.get_logger()

#: Most code is ready so soon that its experiment need not rest meanwhile.
SOON_SECONDS = 1.0

_WAY_OUT = "give it again: tunectl submit --replace --code FILE"

_PENDING = "its code is being prepared on this host"


class CodeMissing(TunedError):
    """This host has no code to run an experiment with; it says nothing about a point."""


class CodeTrees:
    """The unpacked code of a host's experiments. Belongs to the event loop's thread."""

    def __init__(
        self, link: Link, site: Site, carry_out: CarryOut, on_change: Callable[[], object], doer: Doer
    ) -> None:
        self._link = link
        self._site = site
        self._carry_out = carry_out
        self._doer = doer
        self._on_change = on_change
        self._tasks: dict[Tree, asyncio.Task[None]] = {}
        self._ready: set[Tree] = set()
        #: Held while what an earlier daemon left is removed.
        self._clearing = asyncio.Lock()
        self._is_clear = False

    def tree(self, experiment: Experiment) -> Tree | None:
        """The place of its code; None if it has none."""
        if experiment.code is None or not experiment.snapshot:
            return None
        return tree_of(self._site.layout.code, experiment.snapshot, experiment.code.setup)

    def placed(self, experiment: Experiment) -> Experiment:
        """As its trials run here."""
        tree = self.tree(experiment)
        return experiment if tree is None else experiment.placed(str(tree.path))

    def pending(self, experiment: Experiment) -> str:
        """Why its trials wait, for people; empty if they need not."""
        task = self.task(experiment)
        if task is None or task.done():
            return ""
        has_setup = experiment.code is not None and experiment.code.setup is not None
        return _PENDING + (f" (tunectl logs {experiment.name} --setup)" if has_setup else "")

    def task(self, experiment: Experiment) -> asyncio.Task[None] | None:
        """The one that prepares its code; None if none has begun, or all know how it ended."""
        tree = self.tree(experiment)
        return None if tree is None else self._tasks.get(tree)

    async def setup_log(
        self, name: str, definition: Mapping[str, object]
    ) -> tuple[Path, asyncio.Task[None] | None]:
        """The output of its set-up, and the task while it runs. Raises NotFound if it has not run here."""
        experiment = defined(json.dumps(definition), name)
        tree = self.tree(experiment)
        if tree is None or not await asyncio.to_thread(tree.log.exists):
            raise NotFound(f"no set-up of {experiment.name} has run on this host (code.setup)")
        return tree.log, self.task(experiment)

    async def is_ready(self, experiment: Experiment) -> bool:
        """Whether trials may begin now; if not, they may at some later change.

        Raises CodeMissing, DatabaseAway, OSError if it could not be prepared; the next call tries again.
        """
        tree = self.tree(experiment)
        if tree is None or tree in self._ready:
            return True
        if tree not in self._tasks:
            task = self._tasks[tree] = asyncio.create_task(self._prepare(experiment, tree))
            task.add_done_callback(lambda _: self._on_change())
        task = self._tasks[tree]
        await asyncio.wait([task], timeout=SOON_SECONDS)
        if not task.done():
            return False
        self._tasks.pop(tree, None)
        task.result()
        self._ready.add(tree)
        return True

    def doubt(self, experiment: Experiment) -> None:
        """A trial crashed: somebody may have changed its code."""
        tree = self.tree(experiment)
        if tree is not None:
            self._ready.discard(tree)

    async def clear(self) -> None:
        """Removes what an earlier daemon was about to unpack, before this one unpacks anything.

        Raises OSError.
        """
        async with self._clearing:
            if not self._is_clear:
                await done(self._doer.step, clearing_code())
                self._is_clear = True

    async def tidy(self, used: Collection[Experiment]) -> None:
        """Removes the trees that no experiment has used for long. These use theirs now. Raises OSError."""
        kept = {tree for each in used if (tree := self.tree(each)) is not None} | self._tasks.keys()
        self._ready &= kept
        for names in await done(self._doer.step, tidying_code(kept, snapshots.UNUSED_SECONDS)):
            for name in names:
                _log.info("code removed", tree=name)

    async def end(self) -> None:
        """Ends what is being prepared; it begins anew with the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, experiment: Experiment, tree: Tree) -> None:
        digest = experiment.snapshot
        await self.clear()
        [is_whole] = await done(self._doer.step, verifying_code(tree, digest))
        if is_whole:
            return
        await self._unpack(tree, digest)
        _log.info("code unpacked", experiment=experiment.name, digest=digest, path=str(tree.path))
        await self._set_up(experiment.placed(str(tree.path)), tree)
        await done(self._doer.step, finishing_code(tree))

    async def _unpack(self, tree: Tree, digest: str) -> None:
        try:
            await self._fetch(tree, digest)
            for damage in await done(self._doer.step, unpacking_code(tree, digest, LARGEST_LIMIT)):
                raise damage
        except NotFound as error:
            raise CodeMissing(f"{error}; {_WAY_OUT}") from None
        except Damaged as error:
            raise CodeMissing(
                f"snapshot {shown(digest)} of its code is damaged in the database: {error}; {_WAY_OUT}"
            ) from None

    async def _fetch(self, tree: Tree, digest: str) -> None:
        """Hands the packed snapshot on, part by part."""
        number = 0
        while (content := await self._link.share(snapshots.part, digest, number)) is not None:
            await done(self._doer.step, receiving_code(tree, number, content))
            number += 1

    async def _set_up(self, experiment: Experiment, tree: Tree) -> None:
        """Runs the set-up of unpacked code. Raises CodeMissing if it fails."""
        launch = setup_launch(
            experiment,
            host=self._site.host,
            log=tree.log,
            installation=self._site.state.installation_id,
            cgroups=self._site.cgroups,
            base=self._site.environment,
        )
        if launch is None:
            return
        _log.info("code set up", experiment=experiment.name, path=str(tree.path))
        try:
            failure = (await self._carry_out(launch)).failure
        except KeeperLost as error:
            raise OSError(str(error)) from error
        if failure is not None and failure.cause is not Cause.NO_VALUE:
            raise CodeMissing(
                f"code.setup failed: {failure.message}; its output: tunectl logs {experiment.name} --setup"
            )
