"""Which GPUs of this host have a process that is no trial of ours, as NVIDIA's library (NVML) tells.

The library is asked by a process of its own, which is this file as a program: a call that hangs or crashes in
a driver must never take trials along. It needs the standard library and ``pynvml`` only.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A driver that takes longer hangs.
ANSWER_SECONDS = 10.0

#: How long its end is waited for, once it is killed.
KILL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU that the library lists."""

    #: NVML's number, and its id for good.
    index: int
    uuid: str
    #: Processes that compute on it and are not ours.
    others: tuple[int, ...]
    #: Why they cannot be told; empty if they can.
    problem: str = ""

    def is_called(self, name: str) -> bool:
        """Whether CUDA_VISIBLE_DEVICES may call it so: by its number, or its id or the begin of that."""
        return name == str(self.index) or (name.startswith("GPU-") and self.uuid.startswith(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All cards at one moment."""

    cards: tuple[Card, ...] = ()
    #: Why nothing is known of them; empty if something is.
    problem: str = ""
    #: There is no library to ask, so it is of no use to ask again.
    is_missing: bool = False

    @classmethod
    def of(cls, said: dict[str, Any]) -> Sight:
        """From the JSON that the program printed."""
        cards = (Card(**{**each, "others": tuple(each["others"])}) for each in said["cards"])
        return cls(cards=tuple(cards), problem=said["problem"], is_missing=said["is_missing"])


def look(installation_id: str) -> dict[str, Any]:
    """Asks the library. Blocks for a moment, within bounds. Returns JSON for ``Sight``. Raises OSError.

    Our own processes, and all below them, have the mark of this installation in their environment.
    """
    # Isolated, so that no directory of a trial is searched for modules.
    command = [sys.executable, "-I", __file__, f"{installation_id}/"]
    asked = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        printed, complaints = asked.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        _end(asked)
        return _unknown(f"NVML did not answer within {ANSWER_SECONDS:g} s")
    try:
        said: dict[str, Any] = json.loads(printed)
    except ValueError:
        last = complaints.strip().rpartition("\n")[2]
        return _unknown(f"NVML crashed: {last or 'it said nothing'}")
    return said


def _end(asked: subprocess.Popen[str]) -> None:
    asked.kill()
    for pipe in (asked.stdout, asked.stderr):
        if pipe is not None:
            pipe.close()
    # A process that hangs in a driver may not die for long.
    with contextlib.suppress(subprocess.TimeoutExpired):
        asked.wait(KILL_SECONDS)


def _unknown(problem: str, *, is_missing: bool = False) -> dict[str, Any]:
    return {"cards": [], "problem": problem, "is_missing": is_missing}


def _ask(mark: str) -> dict[str, Any]:
    try:
        import pynvml  # noqa: PLC0415 (in the process of its own only)
    except ImportError as error:
        return _unknown(f"the Python package nvidia-ml-py is not installed ({error})", is_missing=True)
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        is_missing = isinstance(error, pynvml.NVMLError_LibraryNotFound)
        return _unknown(f"NVML: {error}", is_missing=is_missing)
    return {
        "cards": [_card(pynvml, index, mark) for index in range(count)],
        "problem": "",
        "is_missing": False,
    }


def _card(pynvml: Any, index: int, mark: str) -> dict[str, Any]:
    uuid = ""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        pids = {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    except pynvml.NVMLError as error:
        return {"index": index, "uuid": uuid, "others": [], "problem": f"NVML: {error}"}
    others = sorted(pid for pid in pids if not _is_ours(pid, mark))
    return {"index": index, "uuid": uuid, "others": others, "problem": ""}


def _is_ours(pid: int, mark: str) -> bool:
    """Whether it, or a process above it, has the mark. One that cannot be seen is somebody else's."""
    wanted = f"TUNED_MARK={mark}".encode()
    while pid > 1:
        process = Path("/proc", str(pid))
        try:
            if any(each.startswith(wanted) for each in (process / "environ").read_bytes().split(b"\0")):
                return True
            pid = int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            return False
    return False


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_ask(sys.argv[1])))
