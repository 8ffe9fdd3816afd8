"""The password file and the capability that systemd gives to the daemon alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tuned.systemd import credentials
from tuned.systemd.credentials import take_password_file

LINE = "db:5432:tuned:tuned:sesame\n"


def with_credential(directory: Path, content: str) -> dict[str, str]:
    (directory / "pgpass").write_text(content)
    environ = {"CREDENTIALS_DIRECTORY": str(directory)}
    take_password_file(environ)
    return environ


def test_libpq_gets_a_password_file_that_it_accepts(tmp_path: Path) -> None:
    file = Path(with_credential(tmp_path, LINE)["PGPASSFILE"])
    assert file.read_text() == LINE
    assert stat.S_ISREG(file.stat().st_mode)
    assert file.stat().st_mode & 0o077 == 0
    os.close(int(file.name))


def test_a_credential_that_systemd_gave_anew_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    environ = with_credential(tmp_path, LINE)
    file = Path(environ["PGPASSFILE"])
    (tmp_path / "pgpass").write_text(LINE.replace("sesame", "open"))
    take_password_file(environ)
    assert (environ["PGPASSFILE"], file.read_text()) == (str(file), LINE.replace("sesame", "open"))
    assert file.stat().st_mode & 0o077 == 0
    assert not os.get_inheritable(int(file.name))
    os.close(int(file.name))


@pytest.mark.parametrize("content", ["", "#", "# none yet\n\n"])
def test_an_empty_credential_is_none(tmp_path: Path, content: str) -> None:
    assert "PGPASSFILE" not in with_credential(tmp_path, content)


def test_a_named_password_file_wins(tmp_path: Path) -> None:
    (tmp_path / "pgpass").write_text(LINE)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "PGPASSFILE": "/elsewhere"}
    take_password_file(environ)
    assert environ["PGPASSFILE"] == "/elsewhere"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability")
def test_what_is_started_afterwards_has_no_capability() -> None:
    code = (
        "import subprocess; from tuned.systemd import credentials; credentials.drop_ambient_capabilities();"
        "subprocess.run(['grep', 'CapEff', '/proc/self/status'], check=True)"
    )
    with_fowner = [
        "setpriv",
        "--reuid=65534",
        "--inh-caps=+fowner",
        "--ambient-caps=+fowner",
        "--clear-groups",
    ]
    program = [*with_fowner, sys.executable, "-c", code]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    if "Permission denied" in done.stderr:
        pytest.skip("another user cannot run this Python")
    assert done.stdout.split() == ["CapEff:", "0" * 16]


def test_a_kernel_that_refuses_to_drop_capabilities_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_PR_CAP_AMBIENT_CLEAR_ALL", 99)
    with pytest.raises(OSError, match="cannot drop capabilities: Invalid argument"):
        credentials.drop_ambient_capabilities()
