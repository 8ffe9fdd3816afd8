"""``tunectl doctor``, with a daemon and without."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.tunectl.running import tunectl
from tests.small_host import SmallHost, a_finding


async def test_doctor_exits_1_while_something_is_wrong(host: SmallHost, path: Path) -> None:
    assert await tunectl(path, "doctor") == (0, "Nothing is wrong.\n", "")
    host.findings = [a_finding()]
    status, out, _ = await tunectl(path, "doctor")
    assert (status, "no host holds them" in out) == (1, True)
    status, out, _ = await tunectl(path, "doctor", "--fix", "--json")
    assert (status, json.loads(out)["findings"]) == (0, [])


async def test_a_note_is_told_and_is_no_fault(host: SmallHost, path: Path) -> None:
    host.findings = [a_finding(kind="note", what="trials run without control groups")]
    status, out, _ = await tunectl(path, "doctor")
    assert (status, "! trials run without control groups" in out) == (0, True)


async def test_doctor_says_what_it_can_without_a_daemon(path: Path) -> None:
    status, out, err = await tunectl(path, "doctor", "--json")
    assert (status, err) == (1, "")
    first = json.loads(out)["findings"][0]
    assert (first["code"], f"{path}: no such socket" in first["what"]) == ("unreachable", True)
