"""The bytes that reach a terminal, a pipe and a file, from the process itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.integration.tunectl.running import COMMAND, start, tunectl
from tests.small_host import SmallHost, a_finding, a_summary, a_trial
from tests.waiting import until_async

#: A title, a clear screen, a bell, C1 codes, letters from right to left, a lone surrogate, an end of line.
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202eevil\ud800\x00\rx\ny"

READING = [
    ["status"], ["list"], ["show", "minima"], ["trials", "minima"], ["best", "minima"],
    ["explain", "minima", "7"], ["doctor"], ["pause", "minima"], ["wait", "minima"],
]  # fmt: skip

_OUR_COLOURS = re.compile(r"\x1b\[(?:0|1|2|31|32|33)m")


class Evil(SmallHost):
    """Says the worst in each text."""

    def __init__(self) -> None:
        super().__init__()
        best = {
            "number": 1,
            "values": [0.5],
            "params": {HOSTILE: HOSTILE},
            "host": HOSTILE,
            "constraints": {HOSTILE: 1.0},
        }
        self.summary = a_summary(note=HOSTILE, best=best, state="done")
        failure = {"cause": HOSTILE, "message": HOSTILE}
        self.all_trials = [
            a_trial(
                number, host=HOSTILE, params={HOSTILE: HOSTILE}, values=None, state="FAIL", failure=failure
            )
            for number in range(9)
        ]
        self.findings = [a_finding(what=HOSTILE, why=HOSTILE, remedy=HOSTILE)]
        # A path has no zero byte.
        self.spool = "/" + HOSTILE.replace("\0", "")


@pytest.fixture
def host_type() -> type[SmallHost]:
    return Evil


async def on_a_terminal(path: Path, *arguments: str, **environ: str) -> str:
    """The bytes that a terminal gets, as text."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TUNED_SOCKET": str(path), "TERM": "xterm", **environ},
    )  # fmt: skip
    os.close(theirs)
    pieces: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                pieces.append(piece)

    await asyncio.wait_for(asyncio.gather(asyncio.to_thread(read), process.wait()), 60)
    os.close(ours)
    return b"".join(pieces).decode(environ.get("PYTHONIOENCODING", "utf-8"))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
async def test_a_hostile_text_is_printable_on_a_terminal(path: Path, arguments: list[str]) -> None:
    shown = _OUR_COLOURS.sub("", await on_a_terminal(path, *arguments)).replace("\r\n", "\n")
    assert [line for line in shown.split("\n") if not line.isprintable()] == []
    assert "\\x1b" in shown or arguments[0] in {"trials", "pause", "wait"}


@pytest.mark.usefixtures("host")
async def test_json_says_a_hostile_text_as_it_is_and_in_printable_letters(path: Path) -> None:
    _, out, _ = await tunectl(path, "show", "minima", "--json")
    assert all(line.isprintable() for line in out.splitlines())
    assert json.loads(out)["summary"]["note"] == HOSTILE


@pytest.mark.usefixtures("host")
async def test_a_hostile_argument_is_printable_in_the_error(path: Path) -> None:
    hostile = HOSTILE.replace("\x00", "").replace("\ud800", "\udcff")
    for arguments in (["show", hostile], [hostile], ["trials", "minima", "--state", hostile]):
        shown = _OUR_COLOURS.sub("", await on_a_terminal(path, *arguments)).replace("\r\n", "\n")
        assert [line for line in shown.split("\n") if not line.isprintable()] == []
        assert shown.startswith("tunectl: ")


@pytest.mark.parametrize("host_type", [SmallHost])
@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
async def test_a_terminal_without_our_letters_gets_others(path: Path, encoding: str) -> None:
    for arguments in (["status"], ["show", "minima"]):
        shown = await on_a_terminal(path, *arguments, PYTHONIOENCODING=encoding, NO_COLOR="1")
        assert shown.startswith("* ")
        assert "####......" in shown
        assert "Traceback" not in shown


@pytest.mark.parametrize("host_type", [SmallHost])
async def test_a_log_keeps_its_colours_on_a_terminal_and_each_byte_in_a_pipe(
    host: SmallHost, path: Path
) -> None:
    host.output = [b"\x1b[3", b"5mpurple \xc3", b"\xa9\x1b[2J\xff\r50%\n"]
    shown = await on_a_terminal(path, "logs", "minima", "3")
    assert shown == "\x1b[35mpurple é\\x1b[2J\N{REPLACEMENT CHARACTER}\r50%\r\n\x1b[0m"
    process = await start(path, "logs", "minima", "3")
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out == b"".join(host.output)


@pytest.mark.parametrize("host_type", [SmallHost])
async def test_a_letter_whose_bytes_come_in_two_pieces_is_one_in_json(host: SmallHost, path: Path) -> None:
    host.output = [b"caf\xc3", b"\xa9"]
    _, out, _ = await tunectl(path, "logs", "minima", "3", "--json")
    assert "".join(json.loads(line)["text"] for line in out.splitlines()) == "café"


@pytest.mark.parametrize("host_type", [SmallHost])
@pytest.mark.parametrize("arguments", [["events"], ["logs", "-f", "minima", "3"]])
async def test_a_stream_ends_when_its_reader_has_gone(
    host: SmallHost, path: Path, arguments: list[str]
) -> None:
    process = await start(path, *arguments)
    await until_async(lambda: bool(host.events._subscriptions or host.open_logs), what="the stream")
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert await asyncio.wait_for(process.wait(), 60) == 141


@pytest.mark.parametrize("host_type", [SmallHost])
@pytest.mark.usefixtures("host")
async def test_a_full_disk_is_one_line(path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "status", stdout=full, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TUNED_SOCKET": str(path)},
    )  # fmt: skip
    os.close(full)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err.decode()) == (
        1,
        "tunectl: cannot go on: output: No space left on device\n",
    )
