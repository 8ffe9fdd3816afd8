"""Files on their way into the spool, and the daemon's verdict."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from pathlib import Path

import pytest

from tests.integration.tunectl.running import EXPERIMENT, spooled, start, tunectl
from tests.small_host import SmallHost
from tests.waiting import until_async
from tuned.experiment.experiment import parse
from tuned.protocol.events import EventName
from tuned.protocol.fields import StudyStateName


async def test_submit_puts_the_whole_file_into_the_spool_and_waits_for_the_verdict(
    host: SmallHost, files: Path, path: Path
) -> None:
    process = await start(path, "submit", str(files / "right.toml"))
    await until_async(lambda: "right.toml" in spooled(files), what="the file")
    assert spooled(files) == {"right.toml": EXPERIMENT}
    host.events.publish("experiment-taken", experiment="right", file="right.toml")
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"submitted and taken" in out) == (0, True)


async def test_replace_sends_the_whole_file_and_says_what_changes(
    host: SmallHost, files: Path, path: Path
) -> None:
    (files / "right.toml").rename(files / "minima.toml")
    status, out, err = await tunectl(path, "submit", "--replace", str(files / "minima.toml"))
    changes = "  budget.trials: 100, was 50\n"
    assert (status, out, err) == (0, f"minima is open; its budget: 46 of 100 trials\n{changes}", "")
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert (host.replacement, host.replaced_by, spooled(files)) == (EXPERIMENT.encode(), user, {})


def known(host: SmallHost, files: Path, state: StudyStateName) -> Path:
    """The file of the host's experiment, which is in this state."""
    (files / "right.toml").rename(files / "minima.toml")
    host.summary["state"] = state
    host.definition = json.loads(parse(EXPERIMENT.encode(), "minima.toml").definition())
    return files / "minima.toml"


async def test_a_file_whose_experiment_is_done_stays_and_the_ways_on_are_told(
    host: SmallHost, files: Path, path: Path
) -> None:
    status, out, _ = await tunectl(path, "submit", str(known(host, files, "done")))
    assert (status, spooled(files)) == (0, {})
    assert out.startswith(
        "minima is done, 46 of 100 trials; failed points again: tunectl retry minima --failed; "
    )
    assert "another budget: tunectl submit --replace FILE" in out


@pytest.mark.parametrize(
    "case",
    [
        ("open", "experiment-same", b"minima is already active, unchanged\n"),
        ("paused", "experiment-same", b"unchanged; it is paused, to go on: tunectl resume minima\n"),
        ("paused", "experiment-taken", b"taken; it is paused, to go on: tunectl resume minima\n"),
        ("cancelled", "experiment-taken", b"taken; it was cancelled and goes on, see tunectl show minima\n"),
    ],
)
async def test_submit_of_what_is_there_says_how_it_is(
    host: SmallHost, files: Path, path: Path, case: tuple[StudyStateName, EventName, bytes]
) -> None:
    state, event, answer = case
    process = await start(path, "submit", str(known(host, files, state)))
    await until_async(lambda: "minima.toml" in spooled(files), what="the file")
    host.events.publish(event, experiment="minima", file="minima.toml")
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out.endswith(answer)) == (0, True), out


async def test_fresh_deletes_first_and_then_submits(host: SmallHost, files: Path, path: Path) -> None:
    file = known(host, files, "done")
    process = await start(path, "submit", "--fresh", "--yes", "--force", str(file))
    await until_async(lambda: "minima.toml" in spooled(files), what="the file")
    assert host.deleted is True
    host.events.publish("experiment-taken", experiment="minima", file="minima.toml")
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out.decode().splitlines()) == (0, [
        "minima is deleted, with 46 trials; other hosts follow within a beat",
        "minima submitted and taken; see tunectl show minima",
    ])  # fmt: skip


async def test_fresh_submits_a_file_whose_experiment_is_not_there(
    host: SmallHost, files: Path, path: Path
) -> None:
    process = await start(path, "submit", "--fresh", "--yes", str(files / "right.toml"))
    await until_async(lambda: "right.toml" in spooled(files), what="the file")
    host.events.publish("experiment-taken", experiment="right", file="right.toml")
    await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, host.deleted) == (0, None)


async def test_to_replace_and_to_delete_at_once_is_wrong_usage(files: Path, path: Path) -> None:
    status, _, err = await tunectl(path, "submit", "--fresh", "--replace", str(files / "right.toml"))
    assert (status, "expected one of them" in err) == (2, True)


async def test_submit_tells_why_the_daemon_rejects_a_file(host: SmallHost, files: Path, path: Path) -> None:
    process = await start(path, "submit", str(files / "right.toml"))
    await until_async(lambda: "right.toml" in spooled(files), what="the file")
    host.events.publish("experiment-rejected", file="right.toml", message="the study has another space")
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"the study has another space" in err) == (1, True)


async def test_submit_leaves_a_wrong_file_and_never_overwrites_one(files: Path, path: Path) -> None:
    (files / "spool" / "right.toml").write_text("waiting")
    status, _, err = await tunectl(path, "submit", str(files / "wrong.toml"), str(files / "right.toml"))
    assert (status, spooled(files)) == (1, {"right.toml": "waiting"})
    assert "one of this name waits" in err


async def test_standard_input_must_say_its_name(files: Path, path: Path) -> None:
    process = await start(path, "submit", "-")
    _, err = await asyncio.wait_for(process.communicate(EXPERIMENT.encode()), 30)
    assert (process.returncode, spooled(files)) == (1, {})
    assert b"name: found nothing" in err
