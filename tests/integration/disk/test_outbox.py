"""Results on disk until told."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuned.disk.outbox import Outbox, decode, encode
from tuned.domain.claim import Origin
from tuned.domain.ending import Cause, Ending, Failure
from tuned.domain.result import Beginning, ParamRow, Result

if TYPE_CHECKING:
    from pathlib import Path

_CRASH = Failure(cause=Cause.EXIT, message="status 1", detail={"status": 1, "log": ["a", {"b": None}]})


_BEGINNING = Beginning(
    claim_id="c",
    origin=Origin.SAMPLER,
    started=1e9 + 0.5,
    params=(ParamRow(param_name="x", param_value=0.1, distribution_json="{}"),),
    attributes={"generation": "1"},
)


def _result(ending: Ending) -> Result:
    return Result(
        study_id=1,
        study_uid="u",
        trial_id=2,
        number=0,
        key="k",
        host="h1",
        beginning=_BEGINNING,
        ending=ending,
    )


_VALUED = _result(
    Ending(
        values=(0.1 + 0.2, math.inf, -0.0, 5e-324),
        intermediate={7: 1.0, -1: -math.inf},
        user_attrs={"a": '{"b": 1}'},
        constraints={"latency": 0.1 + 0.2, "memory": -math.inf},
        retried=(_CRASH, _CRASH),
    )
)
_RECORD: dict[str, Any] = encode(_VALUED)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)),
    max_leaves=6,
)


def put(outbox: Outbox, record: dict[str, Any]) -> str:
    name = outbox.new_name()
    outbox.put(name, record)
    return name


def records(outbox: Outbox) -> list[dict[str, Any]]:
    return [record for _, record in outbox.pending()]


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.is_file() or path.is_fifo()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


def test_what_was_put_is_pending_in_order_until_discarded(directory: Path) -> None:
    outbox = Outbox(directory)
    first, second = put(outbox, {"trial": 1}), put(outbox, {"trial": 2})
    assert outbox.pending() == [(first, {"trial": 1}), (second, {"trial": 2})]
    outbox.discard(first)
    outbox.discard(first)
    assert outbox.pending() == [(second, {"trial": 2})]


def test_order_survives_a_restart(directory: Path) -> None:
    for number in range(12):
        put(Outbox(directory), {"trial": number})
    assert records(Outbox(directory)) == [{"trial": number} for number in range(12)]


def test_values_come_back_exactly(directory: Path) -> None:
    outbox = Outbox(directory)
    put(outbox, {"values": [0.1 + 0.2, math.inf, -0.0, 5e-324], "text": "\ud800 é"})
    assert records(outbox) == [{"values": [0.1 + 0.2, math.inf, -0.0, 5e-324], "text": "\ud800 é"}]


def test_what_threads_put_at_once_is_all_there(directory: Path) -> None:
    outbox = Outbox(directory)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda number: put(outbox, {"trial": number}), range(50)))
    assert sorted(record["trial"] for record in records(outbox)) == list(range(50))
    assert len(set(names)) == 50


def test_what_was_put_outlives_a_kill(directory: Path) -> None:
    code = (
        "import pathlib, sys; from tuned.disk.outbox import Outbox; box = Outbox(pathlib.Path(sys.argv[1]))\n"
        "for number in range(10**9): box.put(box.new_name(), {'trial': number}); print(number, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        told = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout]
    found = [record["trial"] for record in records(Outbox(directory))]
    # The last one may have been put without having been told.
    assert found in (told, [*told, told[-1] + 1])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"trial": 1',
        b"[1]",
        b"null",
        b"NaN",
        b"\xff\xfe",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_corrupt_record_is_set_aside_and_does_not_hold_up_the_others(
    directory: Path, content: bytes
) -> None:
    outbox = Outbox(directory)
    corrupt, sound = put(outbox, {"trial": 1}), put(outbox, {"trial": 2})
    (directory / corrupt).write_bytes(content)
    assert outbox.pending() == [(sound, {"trial": 2})]
    assert (directory / f"{corrupt}.corrupt").read_bytes() == content


def test_what_does_not_belong_is_set_aside(directory: Path) -> None:
    outbox = Outbox(directory)
    (directory / "notes.txt").write_text("mine")
    os.mkfifo(directory / "000000000007.json")
    assert outbox.pending() == []
    assert files(directory) == {"notes.txt.corrupt", "000000000007.json.corrupt"}


def test_no_record_takes_the_number_of_one_that_was_set_aside(directory: Path) -> None:
    outbox = Outbox(directory)
    (directory / put(outbox, {"trial": 1})).write_bytes(b"")
    outbox.pending()
    assert put(Outbox(directory), {"trial": 2}) == "000000000002.json"


def test_a_full_disk_is_told_to_the_caller_and_leaves_nothing(directory: Path) -> None:
    outbox = Outbox(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            put(outbox, {"intermediate": list(range(10_000))})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(directory) == set()
    assert records(Outbox(directory)) == []


_FAILED = replace(_result(Ending(failure=_CRASH)), output=b"\x00\xff\n\xed\xa0\x80")


@pytest.mark.parametrize("result", [_VALUED, _FAILED], ids=["values", "failure"])
def test_a_result_is_read_back_from_disk_exactly(directory: Path, result: Result) -> None:
    outbox = Outbox(directory)
    put(outbox, encode(result))
    ((_, record),) = outbox.pending()
    assert repr(decode(record)) == repr(result)


def test_a_message_with_half_a_surrogate_pair_does_not_lose_its_result(directory: Path) -> None:
    outbox = Outbox(directory)
    put(outbox, encode(_result(Ending(failure=Failure(cause=Cause.EXIT, message="a\udc80b")))))
    failure = decode(records(outbox)[0]).ending.failure
    assert failure
    assert failure.message == "a?b"


_WRONG: dict[str, dict[str, Any]] = {
    "nothing": {},
    "null": {**_RECORD, "host": None},
    "text for a number": {**_RECORD, "study_id": "1"},
    "boolean": {**_RECORD, "study_id": True},
    "float": {**_RECORD, "number": 1.0},
    "huge": {**_RECORD, "trial_id": 2**63},
    "number for text": {**_RECORD, "key": 3},
    "output that is no base64": {**_RECORD, "output": "a"},
    "no ending": {**_RECORD, "ending": None},
    "list": {**_RECORD, "ending": []},
    "neither": {**_RECORD, "ending": {"values": None}},
    "both": {**_RECORD, "ending": {"values": [1.0], "failure": {"cause": "exit", "message": ""}}},
    "text for a value": {**_RECORD, "ending": {"values": ["1"]}},
    "cause": {**_RECORD, "ending": {"failure": {"cause": "bored", "message": ""}}},
    "step": {**_RECORD, "ending": {"values": [1.0], "intermediate": {"x": 1.0}}},
    "huge step": {**_RECORD, "ending": {"values": [1.0], "intermediate": {str(2**63): 1.0}}},
    "a time after the year 9999": {**_RECORD, "ending": {"values": [1.0], "ended": 1e12}},
    "deep": {**_RECORD, "ending": {"failure": {"cause": "exit", "message": "", "detail": json.loads(
        '{"a":' * 500 + "1" + "}" * 500
    )}}},
}  # fmt: skip


@pytest.mark.parametrize("record", _WRONG.values(), ids=_WRONG)
def test_a_record_of_no_result_is_one_error(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(?!$)"):
        decode(record)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(_RECORD)), st.sampled_from([None, *sorted(_RECORD["ending"])]), _JSON)
def test_a_damaged_record_is_a_result_or_one_error(key: str, inner: str | None, junk: object) -> None:
    damaged = {**_RECORD, key: junk} if inner is None else {**_RECORD, "ending": {inner: junk}}
    try:
        result = decode(json.loads(json.dumps(damaged)))
    except ValueError:
        return
    assert repr(decode(encode(result))) == repr(result)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=20), _JSON.map(lambda value: json.dumps(value).encode())))
@pytest.mark.parametrize("start", [0, 40])
def test_any_content_of_a_file_is_a_record_or_set_aside(
    tmp_path_factory: pytest.TempPathFactory, start: int, junk: bytes
) -> None:
    directory = tmp_path_factory.mktemp("outbox")
    outbox = Outbox(directory)
    name = put(outbox, _RECORD)
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[:start] + junk + (whole[start + len(junk) :] if start else b""))
    found = outbox.pending()
    assert bool(found) != (directory / f"{name}.corrupt").exists()
