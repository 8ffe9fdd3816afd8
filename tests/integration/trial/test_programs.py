"""The Python of an experiment: whether it can be used, and why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import pythons
from tests.integration.trial.starting import run
from tuned.experiment.experiment import parse
from tuned.trial import programs
from tuned.trial.programs import look_launch, why_unusable

pytestmark = pytest.mark.usefixtures("_subreaper")


async def problem_of(python: Path, directory: Path) -> str:
    objective = f'[objective]\npython = "train:objective"\ninterpreter = "{python}"\n'
    space = '[space.x]\ntype = "int"\nlow = 0\nhigh = 9\n'
    experiment = parse(f"{objective}{space}".encode(), "exp.toml")
    launch = look_launch(experiment, host="h", log=directory / "output.log", installation="test")
    return why_unusable(experiment, await run(launch))


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", pythons.VERSIONS)
async def test_a_virtual_environment_without_anything_of_ours_will_do(tmp_path: Path, version: str) -> None:
    assert await problem_of(pythons.environment(tmp_path / "venv", version), tmp_path) == ""


async def test_one_that_will_not_do_is_told_with_the_reason(tmp_path: Path) -> None:
    gone, plain = tmp_path / "gone", tmp_path / "plain"
    gone.symlink_to(tmp_path / "python3.9")
    plain.write_text("")
    old = script(
        tmp_path / "old", "#!/bin/sh\necho 'found Python 3.8.18, expected CPython 3.9 or newer' >&2\nexit 1\n"
    )
    broken = script(
        tmp_path / "broken", "#!/bin/sh\necho \"No module named 'encodings'\" >&2\nkill -ABRT $$\n"
    )
    expected = {
        tmp_path / "none": f"cannot run '{tmp_path}/none': there is no such file",
        gone: f"cannot run '{gone}': it is a link to {tmp_path}/python3.9, which is not there",
        plain: f"cannot run '{plain}': it is not executable",
        plain / "python": f"cannot run '{plain}/python': not a directory",
        old: f"cannot use '{old}': found Python 3.8.18, expected CPython 3.9 or newer",
        broken: f"cannot use '{broken}': killed by SIGABRT: No module named 'encodings'",
        Path("/bin/true"): "cannot use '/bin/true': it is no Python",
    }
    found = {python: await problem_of(python, tmp_path) for python in expected}
    assert found == {python: f"objective.interpreter: {told}" for python, told in expected.items()}


async def test_one_that_hangs_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "ANSWER_SECONDS", 0.2)
    hangs = script(tmp_path / "hangs", "#!/bin/sh\nsleep 600\n")
    assert (
        await problem_of(hangs, tmp_path)
        == f"objective.interpreter: cannot use '{hangs}': still running after 0.2 s"
    )
