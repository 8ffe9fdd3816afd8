"""The program that draws, as a process: a request on standard input, a file on standard output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.plots.studies import exported, searched
from tuned.protocol.plots import PlotRequest


def drawn(request: PlotRequest) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tuned.plots.program"]
    return subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, check=False)


@pytest.fixture(scope="module")
def request_of_three() -> PlotRequest:
    study = exported(searched(3))
    return PlotRequest(name="three", study=study, kinds=[], form="html", columns=80, is_ascii=False)


def test_without_a_kind_all_that_fit_are_drawn_and_nothing_is_said(request_of_three: PlotRequest) -> None:
    done = drawn(request_of_three)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"<!DOCTYPE html>")


def test_a_reason_is_the_only_line(request_of_three: PlotRequest) -> None:
    done = drawn({**request_of_three, "kinds": ["front"], "form": "terminal"})
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"front: found 1, expected two or three objectives\n"
