"""A talk of daemons with their keeper, as it was recorded once with real ones, and how it is played again.

``python -m tests.integration.keeper.conversations`` records that of this version anew. After a release the
file of a version never changes, and stays as long as daemons understand that version.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.waiting import until_async
from tuned.disk.state import StateDirectory
from tuned.domain.ending import Ending, Pruning
from tuned.keeper import door, protocol
from tuned.keeper.process import KeeperProcess
from tuned.keeper.wire import Wire
from tuned.trial.curve import Curve
from tuned.trial.evaluation import Site
from tuned.trial.keeping import Run, Verdict, Watcher
from tuned.trial.launch import Launch

#: The places of one talk: in the file, a word stands for them.
HOME = "@HOME@"

#: A line is a daemon's or the keeper's, or nobody's, because another daemon comes.
DAEMON, KEEPER, NEXT = "daemon", "keeper", "next"

#: They come whenever it suits the clock.
_BEATS = ("ping", "pong")

_PONG = b'{"kind": "pong"}\n'

PRUNING = Pruning(rule="median", step=3, value=0.5, bound=0.25)

REPORT = """echo '{"step": 3, "value": 0.5}'"""


def recorded(version: int) -> list[tuple[str, dict[str, Any]]]:
    lines = _file(version).read_text().splitlines()
    return [(who, message) for who, message in map(json.loads, lines)]


def a_run(home: Path, name: str, script: str) -> Run:
    launch = Launch(
        argv=("sh", "-c", script), environment={"PATH": "/usr/bin:/bin"}, workdir=home,
        log=home / "output.log", timeout_seconds=60, objectives=1, pattern=None,
        mark=f"{'0' * 32}/{name * 32}", cgroups=None,
    )  # fmt: skip
    return Run(key=f"{name * 32}-1-1", launch=launch, study="u", program=None, context={"trial": name})


async def talk(site: Site, home: Path) -> list[Ending]:
    """All that daemons say, in one order; how the runs ended."""
    waits = f"{REPORT}; while [ ! -e {home}/NAME ]; do sleep 0.01; done; echo 7"
    runs = {name: a_run(home, name, waits.replace("NAME", name)) for name in "abcd"}
    first = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    await first.begin()
    first.keep({None})
    ended = await first.run(runs["a"], Watcher(curve=Curve(lambda _: (home / "a").touch())))
    first.forget(runs["a"].key)
    verdict = Verdict()

    def prune(_: object) -> None:
        first.note(runs["b"].key, {"completed_rung_0": 0.5})
        verdict.give(PRUNING)

    pruned = await first.run(runs["b"], Watcher(curve=Curve(prune), verdict=verdict))
    first.forget(runs["b"].key)
    await _cancelled(first, runs["c"])
    first.resize(3)
    first.log_as("console")
    await first.written()
    left = await _begun(first, runs["d"])
    first.leave()
    await asyncio.wait([left])
    with suppress(Exception):
        left.result()
    second = KeeperProcess(site, slots=2, log_format="json", patience_seconds=60)
    await second.begin()
    [kept] = second.kept()
    assert (kept.key, kept.context, kept.has_ended) == (runs["d"].key, {"trial": "d"}, False)
    (home / "d").touch()
    resumed = await second.resume(runs["d"], Watcher())
    second.forget(runs["d"].key)
    await second.close()
    for child in first._children:
        child.wait()
    return [ended, pruned, resumed]


async def _begun(keeper: KeeperProcess, run: Run) -> asyncio.Future[Ending]:
    curve = Curve()
    running = asyncio.ensure_future(keeper.run(run, Watcher(curve=curve)))
    await until_async(lambda: curve.reports, what="it to report")
    return running


async def _cancelled(keeper: KeeperProcess, run: Run) -> None:
    running = await _begun(keeper, run)
    running.cancel()
    await asyncio.wait([running])


class PlayedKeeper:
    """Says what the keeper said, each time after the daemon has said what it said then."""

    def __init__(self, home: Path, state: StateDirectory, version: int) -> None:
        self.entries = recorded(version)
        self._home = home
        self._entrance = door.listen(state.keeper)
        self._entrance.setblocking(False)
        # The daemon watches a process.
        self._process = subprocess.Popen(["sleep", "600"])

    async def play(self) -> None:
        while self.entries:
            accepted, _ = await asyncio.get_running_loop().sock_accept(self._entrance)
            wire = await Wire.on(accepted)
            try:
                await self._play_one(wire)
            finally:
                wire.close()

    async def _play_one(self, wire: Wire) -> None:
        while self.entries:
            who, message = self.entries.pop(0)
            if who == NEXT:
                # Until the daemon has gone.
                while await wire.receive() is not None:
                    wire.send(_PONG)
                return
            if who == KEEPER:
                wire.send(self._line(message))
                continue
            said = await self._said(wire)
            assert (said["kind"], said.get("key")) == (message["kind"], message.get("key"))
            if said["kind"] == "stop":
                self.end()

    async def _said(self, wire: Wire) -> dict[str, Any]:
        while (line := await wire.receive()) is not None:
            said: dict[str, Any] = json.loads(line)
            if said["kind"] not in _BEATS:
                return said
            wire.send(_PONG)
        raise AssertionError("the daemon has gone")

    def _line(self, message: dict[str, Any]) -> bytes:
        if message["kind"] == "ready":
            message = {**message, "pid": self._process.pid}
        return json.dumps(message).replace(HOME, str(self._home)).encode() + b"\n"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._entrance.close()


def _file(version: int) -> Path:
    return Path(__file__).parent / f"version_{version}" / "conversation.jsonl"


class _Recorder:
    """Listens to what goes over the wires of this process."""

    def __init__(self, home: Path, installation: str) -> None:
        self._words = {str(home): HOME, installation: "0" * 32}
        self.lines: list[str] = []

    def note(self, who: str, line: bytes) -> None:
        text = line.decode()
        for word, stands_for in self._words.items():
            text = text.replace(word, stands_for)
        message = json.loads(text)
        if message["kind"] in _BEATS:
            return
        if message["kind"] == "hello" and self.lines:
            self.lines.append(json.dumps([NEXT, {}]))
        if message["kind"] == "ready":
            message["pid"] = 7
            for run in message["runs"]:
                run["seconds"] = 1.5
        self.lines.append(json.dumps([who, message]))


async def _record() -> Sequence[str]:
    with tempfile.TemporaryDirectory() as place, StateDirectory.open(Path(place) / "state") as state:
        site = Site(host="h", state=state, cgroups=None, grace_seconds=0.0)
        recorder = _Recorder(Path(place), state.installation_id)
        send, receive = Wire.send, Wire.receive

        def heard_send(wire: Wire, line: bytes) -> None:
            recorder.note(DAEMON, line)
            send(wire, line)

        async def heard_receive(wire: Wire) -> bytes | None:
            line = await receive(wire)
            if line is not None:
                recorder.note(KEEPER, line)
            return line

        Wire.send, Wire.receive = heard_send, heard_receive  # type: ignore[method-assign,assignment]
        await talk(site, Path(place))
        return recorder.lines


if __name__ == "__main__":
    _file(protocol.VERSION).write_text("\n".join(asyncio.run(_record())) + "\n")
