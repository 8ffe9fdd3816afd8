"""Makes the pictures in docs/images, while a real daemon runs examples: ``tunectl top`` and the dashboard.

It needs the tools of the tests, and Chromium at CHROMIUM. Everything else is in a temporary directory. At the
end one experiment is done, one runs, one is paused, and one rests because its program is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from playwright.sync_api import ViewportSize, sync_playwright

from tuned.protocol.experiments import ExperimentSummary, ExperimentView
from tuned.tunectl.client import Client
from tuned.tunectl.top.app import Look, Top

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PROGRAMS = Path(sys.executable).parent
CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
PATIENCE_SECONDS = 600.0
SLOTS = 4
#: Columns and lines of the terminal.
TERMINAL = (100, 24)
#: Pages of the dashboard: address, width and height in pixels.
PAGES = {"fleet": ("/", 1000, 860), "experiment": ("/experiments/fit", 1000, 705)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

#: From this trial on, those of `fit` stop in the middle of their training, so that they are seen running.
HELD = 20

#: The training of examples/pruning, at a pace that can be watched.
SLOW = f"""
import contextlib, io, os, time
import fit

number, output = int(os.environ["TUNED_TRIAL"]), io.StringIO()
with contextlib.redirect_stdout(output):
    fit.main()
for epoch, line in enumerate(output.getvalue().splitlines()):
    print(line, flush=True)
    time.sleep(3600 if number >= {HELD} and epoch == 4 + number % 3 else 0.005)
"""

MISSING = """
direction = "maximize"
[objective]
command = ["/srv/resnet/train", "--lr={lr}"]
[space.lr]
type = "float"
low = 1e-4
high = 1e-1
log = true
[budget]
trials = 100
"""

T = TypeVar("T")

SEED = '\n[sampler]\nname = "tpe"\nseed = 1\n'


@dataclass(frozen=True)
class Host:
    """One daemon below ``home``."""

    home: Path

    @property
    def socket(self) -> Path:
        return self.home / "sock"

    @property
    def config(self) -> Path:
        return self.home / "tuned.toml"

    def configure(self) -> None:
        (self.home / "spool").mkdir()
        places = {"spool": self.home / "spool", "state_dir": self.home / "state"}
        lines = [f"{key} = {json.dumps(str(path))}" for key, path in places.items()]
        self.config.write_text("\n".join([*lines, 'host = "alpha"', f"slots = {SLOTS}", ""]))

    def submit(self, name: str, text: str) -> None:
        file = self.home / f"{name}.toml"
        file.write_text(text)
        self.tunectl("submit", str(file))

    def tunectl(self, *command: str) -> None:
        subprocess.run([PROGRAMS / "tunectl", "--socket", self.socket, *command], check=True)

    def summary(self, name: str) -> ExperimentSummary:
        return Client([self.socket]).get(f"/v1/experiments/{name}", ExperimentView)["summary"]

    def example(self, name: str) -> str:
        """Its file, with its programs copied: it names a directory below /srv."""
        work = self.home / name
        work.mkdir()
        for program in (ROOT / "examples" / name).glob("*.py"):
            (work / program.name).write_bytes(program.read_bytes())
        text = (ROOT / "examples" / name / f"{name}.toml").read_text()
        return re.sub(r'workdir = "[^"]+"', f"workdir = {json.dumps(str(work))}", text)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tuned-") as directory, ExitStack() as stack:
        host = Host(Path(directory))
        host.configure()
        stack.enter_context(running("tuned", host))
        until(host.socket.exists)
        run_experiments(host)
        dashboard = stack.enter_context(
            running("tuned-dashboard", host, "--socket", host.socket, "--port", "0")
        )
        asyncio.run(picture_top(host))
        picture_pages(until(lambda: address_in(dashboard)))


def address_in(log: Path) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
    return found[0] if found else ""


@contextmanager
def running(program: str, host: Host, *options: str | Path) -> Iterator[Path]:
    """A program of tuned, and its log."""
    log = host.home / f"{program}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAMS / program, "--config", host.config, "--socket", host.socket, *options],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def run_experiments(host: Host) -> None:
    beam = (
        host.example("beam")
        .replace('name = "tpe"', 'name = "tpe"\nseed = 1')
        .replace("trials = 40", "trials = 24")
    )
    host.submit("beam", beam)
    until(lambda: host.summary("beam")["state"] == "done")
    host.submit("rosenbrock", host.example("conditions"))
    until(lambda: host.summary("rosenbrock")["trials"] >= 6)
    host.tunectl("pause", "rosenbrock")
    until(lambda: host.summary("rosenbrock")["counts"]["running"] == 0)
    host.submit("resnet", MISSING)
    fit = host.example("pruning").replace("fit.py", "slow.py")
    (host.home / "pruning" / "slow.py").write_text(SLOW)
    host.submit("fit", fit + SEED)
    until(lambda: is_held(host))


def is_held(host: Host) -> bool:
    counts = host.summary("fit")["counts"]
    return counts["running"] == SLOTS and host.summary("fit")["trials"] >= HELD + SLOTS


async def picture_top(host: Host) -> None:
    app = Top(Client([host.socket]), Look(is_ascii=False, has_colours=True))
    picture = ""
    async with app.run_test(size=TERMINAL) as pilot:
        while "step" not in picture:
            # The page asks again each two seconds.
            await pilot.pause(3)
            picture = app.export_screenshot(title="tunectl top", simplify=True)
    # Its font would come from another host.
    (IMAGES / "top.svg").write_text(re.sub(r"\s*@font-face \{.*?\n    \}", "", picture, flags=re.DOTALL))


def picture_pages(address: str) -> None:
    with sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for name, (path, width, height) in PAGES.items():
            for scheme in SCHEMES:
                size = ViewportSize(width=width, height=height)
                page = browser.new_page(viewport=size, color_scheme=scheme)
                page.goto(address + path)
                page.get_by_text("More charts are being drawn").wait_for(state="hidden")
                page.screenshot(path=IMAGES / f"{name}-{scheme}.png")
                page.close()
        browser.close()


def until(get: Callable[[], T]) -> T:
    """The first answer that is true."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (answer := get()):
        if time.monotonic() > end:
            sys.exit(f"the pictures are not ready after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)
    return answer


if __name__ == "__main__":
    main()
