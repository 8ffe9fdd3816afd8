"""The command as a process: what it prints and how it exits, with a small host at the socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.small_host import SmallHost, a_finding, served
from tests.waiting import until_async

COMMAND = [sys.executable, "-c", "from tuned.tunectl.main import main; main()"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuned.sock"


@pytest.fixture
async def host(path: Path) -> AsyncIterator[SmallHost]:
    host = SmallHost()
    async with served(host, path):
        yield host


async def start(path: Path, *arguments: str) -> asyncio.subprocess.Process:
    environ = {**os.environ, "TUNED_SOCKET": str(path)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environ
    )


async def tunectl(path: Path, *arguments: str) -> tuple[int, str, str]:
    process = await start(path, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status"], "minima"),
        (["list"], "46/100"),
        (["show", "minima"], "46 of 100 trials"),
        (["trials", "minima", "-n", "3"], "247"),
        (["best", "minima"], "0.9731"),
        (["hosts"], "beta   stopped"),
        (["explain", "minima", "7"], "drawn by the sampler (tpe)"),
        (["logs", "minima", "3"], "epoch 2"),
    ],
)
async def test_reading_commands_print_for_people_and_for_machines(
    path: Path, arguments: list[str], expected: str
) -> None:
    status, out, err = await tunectl(path, *arguments)
    assert (status, err, expected in out) == (0, "", True)
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    status, out, _ = await tunectl(path, *arguments, "--json")
    lines = out.splitlines() if arguments[0] == "logs" else [out]
    assert all(isinstance(json.loads(line), dict) for line in lines)


@pytest.mark.usefixtures("host")
async def test_all_trials_are_read_page_by_page(path: Path) -> None:
    _, out, _ = await tunectl(path, "trials", "minima", "--all", "--json")
    assert [trial["number"] for trial in json.loads(out)["trials"]] == list(range(250))


async def test_changing_commands_say_what_it_is_then(host: SmallHost, path: Path) -> None:
    for verb, state in [("pause", "paused"), ("resume", "open"), ("cancel", "cancelled")]:
        assert await tunectl(path, verb, "minima") == (0, f"minima is {state}\n", "")
    assert await tunectl(path, "drain") == (0, "draining\n", "")
    assert await tunectl(path, "abort") == (0, "aborting\n", "")
    assert host.host_state == "aborting"


@pytest.mark.usefixtures("host")
async def test_retry_says_what_is_evaluated_again(path: Path) -> None:
    said = "{} of minima free again; it is open\n"
    assert await tunectl(path, "retry", "minima", "--failed") == (0, said.format("3 failed points"), "")
    answer = await tunectl(path, "retry", "minima", "--failed", "--cause", "exit")
    assert answer == (0, said.format("1 failed point"), "")
    assert (await tunectl(path, "retry", "minima"))[0] == 2


async def test_what_is_refused_exits_1_with_the_reason(host: SmallHost, path: Path) -> None:
    host.summary["state"] = "done"
    status, out, err = await tunectl(path, "pause", "minima")
    assert (status, out, err) == (1, "", "tunectl: cannot make minima paused: it is done\n")


async def test_wrong_usage_exits_2(path: Path) -> None:
    for arguments in (["frobnicate"], ["show"], ["trials", "minima", "--limit", "0"]):
        assert (await tunectl(path, *arguments))[0] == 2


async def test_no_daemon_exits_3(path: Path) -> None:
    for arguments in (["status"], ["wait", "minima"], ["drain", "--wait"], ["events"]):
        status, out, err = await tunectl(path, *arguments)
        assert (status, out) == (3, "")
        assert f"{path}: no such socket" in err


async def test_doctor_exits_1_while_something_is_wrong(host: SmallHost, path: Path) -> None:
    assert await tunectl(path, "doctor") == (0, "Nothing is wrong.\n", "")
    host.findings = [a_finding()]
    status, out, _ = await tunectl(path, "doctor")
    assert (status, "no host holds them" in out) == (1, True)
    status, out, _ = await tunectl(path, "doctor", "--fix", "--json")
    assert (status, json.loads(out)["findings"]) == (0, [])


async def test_doctor_says_what_it_can_without_a_daemon(path: Path) -> None:
    status, out, err = await tunectl(path, "doctor", "--json")
    assert (status, err) == (1, "")
    first = json.loads(out)["findings"][0]
    assert (first["code"], f"{path}: no such socket" in first["what"]) == ("unreachable", True)


@pytest.mark.parametrize(("state", "expected"), [("done", 0), ("cancelled", 1)])
async def test_wait_ends_with_the_experiment(host: SmallHost, path: Path, state: str, expected: int) -> None:
    host.summary["state"] = "open"
    process = await start(path, "wait", "minima")
    await until_async(lambda: bool(host.events._subscriptions), what="the reader")
    host.summary["state"] = "done" if state == "done" else "cancelled"
    host.events.publish("experiment-state", experiment="other", state="done")
    host.events.publish("experiment-state", experiment="minima", state=state)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out.decode().split(",")[0].strip()) == (expected, f"minima is {state}")


async def test_wait_for_an_ended_experiment_returns_at_once(host: SmallHost, path: Path) -> None:
    host.summary["state"] = "done"
    host.summary["best"] = None
    assert await tunectl(path, "wait", "minima") == (1, "minima is done, no value\n", "")


async def test_wait_says_when_the_daemon_ends_first(path: Path) -> None:
    host = SmallHost()
    async with served(host, path):
        process = await start(path, "wait", "minima")
        await until_async(lambda: bool(host.events._subscriptions), what="the reader")
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 3


async def test_a_reader_that_has_seen_enough_is_no_error(host: SmallHost, path: Path) -> None:
    process = await start(path, "events")
    assert process.stdout is not None
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    while process.returncode is None:
        host.events.publish("experiment-state", experiment="minima", state="open")
        await asyncio.sleep(0.01)
    assert process.stderr is not None
    assert await process.stderr.read() == b""


@pytest.mark.usefixtures("host")
async def test_an_interrupt_is_quiet(path: Path) -> None:
    process = await start(path, "events", "--json")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(2)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err.strip()) == (130, b"")


@pytest.mark.usefixtures("host")
async def test_names_complete_in_the_shell(path: Path) -> None:
    variables = {"_TUNECTL_COMPLETE": "bash_complete", "COMP_WORDS": "tunectl show mi", "COMP_CWORD": "2"}
    command = f"import os, sys; os.environ.update({variables!r}); sys.argv[0] = 'tunectl'\n{COMMAND[2]}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, env={**os.environ, "TUNED_SOCKET": str(path)}, stdout=-1
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"plain,minima\n"


async def test_asking_imports_nothing_heavy() -> None:
    heavy = ["optuna", "aiohttp", "sqlalchemy", "pydantic", "structlog", "numpy", "asyncio"]
    code = f"import sys, tuned.tunectl.main; print([m for m in {heavy!r} if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"[]\n"


# Files

EXPERIMENT = """
[objective]
command = ["true"]
[space.size]
type = "int"
low = 2
high = 64
"""


@pytest.fixture
def files(tmp_path: Path, host: SmallHost) -> Path:
    """A directory with a file that is right and one that is wrong, and the host's spool beside them."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "right.toml").write_text(EXPERIMENT)
    (tmp_path / "wrong.toml").write_text("odd = 1\n" + EXPERIMENT.replace("low = 2", "low = 200"))
    host.spool = str(tmp_path / "spool")
    return tmp_path


def spooled(files: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in (files / "spool").iterdir()}


async def test_check_lists_all_problems_of_all_files(files: Path, path: Path) -> None:
    status, out, err = await tunectl(path, "check", str(files / "right.toml"), str(files / "wrong.toml"))
    assert (status, "right.toml: ok" in out) == (1, True)
    assert "space.size" in err
    assert len(err.splitlines()) >= 2


async def test_submit_puts_the_whole_file_into_the_spool_and_waits_for_the_verdict(
    host: SmallHost, files: Path, path: Path
) -> None:
    process = await start(path, "submit", str(files / "right.toml"))
    await until_async(lambda: "right.toml" in spooled(files), what="the file")
    assert spooled(files) == {"right.toml": EXPERIMENT}
    host.events.publish("experiment-taken", experiment="right", file="right.toml")
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"submitted and taken" in out) == (0, True)


async def test_replace_sends_the_whole_file_and_says_the_budget_of_then(
    host: SmallHost, files: Path, path: Path
) -> None:
    (files / "right.toml").rename(files / "minima.toml")
    answer = await tunectl(path, "submit", "--replace", str(files / "minima.toml"))
    assert answer == (0, "minima is open; its budget: 46 of 100 trials\n", "")
    assert (host.replacement, spooled(files)) == (EXPERIMENT.encode(), {})


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


async def test_try_shows_the_output_the_value_and_what_the_daemon_would_miss(files: Path, path: Path) -> None:
    (files / "train.py").write_text("import os\nprint('epoch 1')\nprint(os.environ['TUNED_PARAM_SIZE'])\n")
    file = files / "right.toml"
    file.write_text(EXPERIMENT.replace('"true"', f'"{sys.executable}", "{files}/train.py"'))
    status, out, err = await tunectl(path, "try", str(file))
    assert (status, out.splitlines()[0]) == (0, "epoch 1")
    assert "COMPLETE value" in err
    file.write_text(EXPERIMENT)
    status, _, err = await tunectl(path, "try", str(file))
    assert (status, "no-value" in err, "print the value" in err) == (1, True, True)
