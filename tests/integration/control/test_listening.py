"""The socket file: its mode, whose it is, and when it goes."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.control.asking import get, wait_for_service
from tests.small_host import SmallHost, served
from tuned.errors import Conflict, InvalidInput


def mode_of(path: Path) -> int | None:
    return stat.S_IMODE(path.lstat().st_mode) if path.exists() else None


@contextlib.contextmanager
def another_socket(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        yield other


async def test_the_socket_has_exactly_its_mode(host: SmallHost, path: Path) -> None:
    for mode in (0o666, 0o660, 0o600):
        async with served(host, path, mode=mode):
            assert mode_of(path) == mode


async def test_a_second_daemon_on_the_socket_is_refused(address: Path) -> None:
    with pytest.raises(Conflict, match="another daemon answers there"):
        async with served(SmallHost(), address):
            pass
    assert (await get(address, "/v1/status"))[0] == 200


async def test_a_socket_that_another_program_answers_is_refused(host: SmallHost, path: Path) -> None:
    with another_socket(path) as other:
        other.listen(0)
        with pytest.raises(Conflict):
            async with served(host, path):
                pass
    assert mode_of(path) is not None


async def test_a_dead_daemons_socket_is_replaced(host: SmallHost, path: Path) -> None:
    with another_socket(path):
        pass
    async with served(host, path):
        await wait_for_service(path)
    assert mode_of(path) is None


async def test_a_file_that_is_no_socket_is_left_alone(host: SmallHost, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.touch()
    with pytest.raises(InvalidInput, match="no socket"):
        async with served(host, file):
            pass
    assert mode_of(file) is not None


async def test_only_the_own_socket_is_removed_at_the_end(host: SmallHost, path: Path) -> None:
    with contextlib.ExitStack() as stack:
        async with served(host, path):
            stack.enter_context(another_socket(path))
        assert mode_of(path) is not None


async def test_a_path_that_is_too_long_is_refused(host: SmallHost, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at most 107 bytes"):
        async with served(host, tmp_path / ("x" * 108)):
            pass
