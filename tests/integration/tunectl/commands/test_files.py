"""Commands that take files."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.tunectl.running import EXPERIMENT, tunectl


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


async def test_check_lists_all_problems_of_all_files(files: Path, path: Path) -> None:
    status, out, err = await tunectl(path, "check", str(files / "right.toml"), str(files / "wrong.toml"))
    assert (status, "right.toml: ok" in out) == (1, True)
    assert "space.size" in err
    assert len(err.splitlines()) >= 2


async def test_check_warns_of_what_is_missing_on_this_host_and_gives_hints(files: Path, path: Path) -> None:
    file = files / "accuracy.toml"
    file.write_text(EXPERIMENT.replace('"true"', '"/no/such/train.py"'))
    status, out, err = await tunectl(path, "check", str(file))
    assert (status, err) == (0, "")
    assert "study: accuracy, minimize (the default)" in out
    assert "warning: objective.command: there is no /no/such/train.py on this host" in out
    assert "hint: no argument names size" in out
    assert "hint: accuracy is usually maximized" in out
