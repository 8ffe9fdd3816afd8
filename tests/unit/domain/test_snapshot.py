"""Snapshots of code by the names and contents of their files."""

from __future__ import annotations

import pytest

from tuned.domain.snapshot import Entry, Kind, Manifest, changes


def of(**files: str) -> Manifest:
    return Manifest.of(
        Entry(path=path, kind=Kind.PLAIN, content=content, size_bytes=1) for path, content in files.items()
    )


def test_the_digest_knows_names_contents_and_kinds_and_no_order() -> None:
    digest = of(a="1", b="2").digest
    assert of(b="2", a="1").digest == digest
    other = Manifest.of(
        [Entry(path="a", kind=Kind.EXECUTABLE, content="1", size_bytes=1), *of(b="2").entries]
    )
    assert len({digest, of(a="1", b="3").digest, of(a="1", c="2").digest, other.digest}) == 4


def test_a_manifest_is_read_back() -> None:
    assert Manifest.decode(of(a="1", b="2").encode()) == of(a="1", b="2")
    for broken in (b"", b"x", Manifest(()).encode()[:-3]):
        with pytest.raises(ValueError, match="no list of a snapshot's files"):
            Manifest.decode(broken)


def test_a_difference_names_the_files() -> None:
    assert changes(of(a="1", b="2", c="3"), of(a="1", b="3", d="4")) == "changed b; new c; gone d"
    many = {f"f{number}": "1" for number in range(8)}
    assert changes(of(**many), of()) == "new f0, f1, f2, f3, f4 and 3 more files"
    assert changes(of(a="1"), of(a="1")) == ""
