"""The token: where it comes from, and where there must be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuned.errors import TunedError
from tuned.web.main import TOKEN_CREDENTIAL, token_of

TOKEN = "0123456789abcdef"


def test_the_token_is_the_first_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN} \nmore\n")
    assert token_of("0.0.0.0", tmp_path / "token", {}) == TOKEN


def test_a_credential_of_systemd_is_the_token_unless_it_is_a_comment(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / TOKEN_CREDENTIAL).write_text("#")
    assert token_of("127.0.0.1", None, environ) is None
    (tmp_path / TOKEN_CREDENTIAL).write_text(TOKEN)
    assert token_of("127.0.0.1", None, environ) == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert token_of(host, None, {}) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_every_other_address_needs_one(host: str) -> None:
    with pytest.raises(TunedError, match=r"expected a loopback address, or a token: --token-file"):
        token_of(host, None, {})


@pytest.mark.parametrize("content", ["", "\n", "# token\n", "short"])
def test_a_file_without_a_token_that_is_long_enough_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(TunedError, match="found"):
        token_of("127.0.0.1", tmp_path / "token", {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TunedError, match=f"{tmp_path}/none: cannot read the token"):
        token_of("127.0.0.1", tmp_path / "none", {})
