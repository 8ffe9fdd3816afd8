"""The socket by which a daemon finds its keeper."""

from __future__ import annotations

from pathlib import Path

from tuned.keeper import door


def test_a_keeper_is_found_however_long_the_path_of_its_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    assert door.knock(deep) is None
    for _ in range(2):
        # The second one replaces what the first one left.
        with door.listen(deep) as entrance:
            calling = door.knock(deep)
            assert calling is not None
            accepted, _ = entrance.accept()
            calling.sendall(b"x")
            assert accepted.recv(1) == b"x"
            accepted.close()
            calling.close()
        assert door.knock(deep) is None
