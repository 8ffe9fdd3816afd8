"""Runs the digits example through a daemon of its own: submit, watch, show what is best, drain.

All it makes is in .demo/ in the clone, which stays for a look afterwards and is wiped by the next run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(".demo")
SOCKET, STATE, SPOOL, LOG = HOME / "tuned.sock", HOME / "state", HOME / "spool", HOME / "daemon.log"
EXPERIMENT = "digits"
PROGRAMS = Path(sys.executable).parent
TUNECTL: list[str | Path] = [PROGRAMS / "tunectl", "--socket", SOCKET]
START_SECONDS, RUN_SECONDS, STOP_SECONDS = 60, 600, 60
BAR = 24


class DemoFailed(Exception):
    """The demo cannot go on."""


def main() -> int:
    # Relative paths keep the hints short, and the socket's path below the 107 bytes that Linux allows.
    os.chdir(ROOT)
    shutil.rmtree(HOME, ignore_errors=True)
    SPOOL.mkdir(parents=True, mode=0o700)
    daemon = start()
    try:
        wait_for_socket(daemon)
        submit()
        watch(daemon)
        show()
        drain(daemon)
    except KeyboardInterrupt:
        print("\ninterrupted: the daemon is told to stop")
        return 130
    except DemoFailed as failure:
        print(f"\nthe demo failed: {failure}\nthe daemon's log is {LOG}", file=sys.stderr)
        return 1
    finally:
        stop(daemon)
    return 0


def start() -> subprocess.Popen[bytes]:
    print(f"Starting tuned with two slots and an embedded database below {HOME}/ ...", flush=True)
    options: list[str | Path] = ["--state-dir", STATE, "--spool", SPOOL, "--socket", SOCKET, "--slots", "2"]
    with LOG.open("wb") as log:
        # A session of its own, so that Ctrl-C reaches this program alone.
        return subprocess.Popen(
            [PROGRAMS / "tuned", *options, "--log-format", "console"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def wait_for_socket(daemon: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while ask("status") is None:
        if daemon.poll() is not None:
            raise DemoFailed(f"the daemon ended with exit status {daemon.returncode}")
        if time.monotonic() > end:
            raise DemoFailed(f"the daemon does not answer after {START_SECONDS} s")
        time.sleep(0.1)


def submit() -> None:
    """A person would name the program's own directory in the file; here it is wherever the clone is."""
    source = ROOT / "examples" / EXPERIMENT
    text = (source / f"{EXPERIMENT}.toml").read_text()
    file = HOME / f"{EXPERIMENT}.toml"
    file.write_text(text.replace('workdir = "/srv/digits"', f"workdir = {json.dumps(str(source))}"))
    run("submit", str(file))


def watch(daemon: subprocess.Popen[bytes]) -> None:
    """Draws the progress until the experiment is done."""
    began = time.monotonic()
    drawn = ""
    while (seconds := time.monotonic() - began) < RUN_SECONDS:
        if daemon.poll() is not None:
            raise DemoFailed(f"the daemon ended with exit status {daemon.returncode}")
        summary = (ask("show", EXPERIMENT) or {}).get("summary")
        if summary:
            drawn = draw(summary, seconds, drawn)
            if summary["state"] == "done":
                print()
                return
        time.sleep(0.25)
    raise DemoFailed(f"the experiment is not done after {RUN_SECONDS} s")


def draw(summary: dict[str, Any], seconds: float, drawn: str) -> str:
    """Redraws one line in a terminal; elsewhere a line for each third trial. Returns what stands there."""
    done, limit = summary["trials"] - summary["counts"]["running"], summary["trials_limit"]
    best = summary["best"]
    value = f"best {best['values'][0]:.4f} (trial {best['number']})" if best else "no value yet"
    line = f"[{'#' * (BAR * done // limit):.<{BAR}}] {done}/{limit}  {value}"
    if sys.stdout.isatty():
        print(f"\r{line}  {seconds:3.0f} s ", end="", flush=True)
    elif line != drawn and done % 3 == 0:
        print(line, flush=True)
    return line


def show() -> None:
    run("best", EXPERIMENT)
    print(f"""
What it left in {HOME}/ can be looked at with Optuna's own tools:
  .venv/bin/optuna trials --storage sqlite:///{STATE}/tuned.db --study-name {EXPERIMENT}
  .venv/bin/optuna-dashboard sqlite:///{STATE}/tuned.db
or by the daemon, started again:
  .venv/bin/tuned --state-dir {STATE} --spool {SPOOL} --socket {SOCKET} &
  .venv/bin/tunectl --socket {SOCKET} show {EXPERIMENT}
  .venv/bin/tunectl --socket {SOCKET} trials {EXPERIMENT}
  .venv/bin/tunectl --socket {SOCKET} logs {EXPERIMENT}
  .venv/bin/tunectl --socket {SOCKET} drain
""")


def drain(daemon: subprocess.Popen[bytes]) -> None:
    run("drain", "--wait")
    if daemon.wait(STOP_SECONDS) != 0:
        raise DemoFailed(f"the drained daemon ended with exit status {daemon.returncode}, expected 0")


def stop(daemon: subprocess.Popen[bytes]) -> None:
    """Leaves no process, whatever happened before."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def ask(*command: str) -> dict[str, Any] | None:
    """The JSON that tunectl answers; None while it has no answer."""
    answer = subprocess.run([*TUNECTL, *command, "--json"], capture_output=True, check=False)
    parsed: dict[str, Any] | None = json.loads(answer.stdout) if answer.returncode == 0 else None
    return parsed


def run(*command: str) -> None:
    """Runs tunectl as a person would, and shows its output."""
    print(f"$ tunectl {' '.join(command)}", flush=True)
    if status := subprocess.run([*TUNECTL, *command], check=False).returncode:
        raise DemoFailed(f"tunectl {command[0]} ended with exit status {status}")


if __name__ == "__main__":
    sys.exit(main())
