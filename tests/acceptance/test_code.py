"""The code of an experiment: its snapshot, its set-up, its replacement, and why it may be refused."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, checked
from tests.fleet.hosts import query
from tests.waiting import until


@pytest.fixture
def database(make: MakeDaemon, database_url: str) -> Daemon:
    """A daemon, once on SQLite and once on PostgreSQL."""
    return make("h", storage=database_url).start()


SCRIPT = 'cat value; pwd; echo "$TUNED_CODE" "$1"; echo hello > new || echo cannot write\n'


def written(directory: Path, value: int = 1) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "value").write_text(f'{{"value": {value}}}\n')
    (directory / "run.sh").write_text(f"#!/bin/sh\n{SCRIPT}")
    (directory / "run.sh").chmod(0o755)
    return directory


def an_experiment(code: Path, more: str = "", *, xs: int = 1, budget: str = "") -> str:
    return checked(
        f'[objective]\ncommand = ["./run.sh", "{{code}}"]\n[code]\ndir = "{code}"\n{more}\n'
        f'[space.x]\ntype = "int"\nlow = 0\nhigh = {xs - 1}\n[sampler]\nname = "grid"\n{budget}'
    )


def submitted(daemon: Daemon, home: Path, name: str, text: str, *options: str) -> str:
    """The words of tunectl."""
    (home / f"{name}.toml").write_text(text)
    done = daemon.tunectl("submit", *options, str(home / f"{name}.toml"))
    return done.stdout + done.stderr


def test_code_goes_with_its_file_and_edited_code_is_replaced_by_a_person(
    database: Daemon, tmp_path: Path
) -> None:
    code = written(tmp_path / "code")
    text = an_experiment(code, xs=3, budget="[budget]\ntrials = 1\n")
    assert "submitted and taken" in submitted(database, tmp_path, "exp", text)
    database.until_in("done", "exp")
    [tree] = [path for path in (database.state / "code").iterdir() if path.is_dir()]
    printed = database.tunectl("logs", "exp", "0").stdout
    assert f'{{"value": 1}}\n{tree}\n{tree} {tree}\n' in printed
    modes = [stat.S_IMODE((tree / name).stat().st_mode) for name in (".", "run.sh", "value")]
    assert modes == [0o555, 0o555, 0o444]
    if os.geteuid() != 0:
        assert "cannot write" in printed
    assert not list((database.spool / "active").iterdir())
    # Edited, it is other code: of the same experiment only if a person says so.
    written(code, 2)
    told = submitted(database, tmp_path, "exp", text)
    assert "code: other files here than in the database (changed value)" in told
    assert "tunectl submit --replace --code FILE" in told
    larger = text.replace("trials = 1", "trials = 2")
    assert "budget.trials: 2, was 1" in submitted(database, tmp_path, "exp", larger, "--replace")
    database.until_in("done", "exp")
    assert [trial["values"] for trial in database.trials("exp")] == [[1.0], [1.0]]
    told = submitted(
        database, tmp_path, "exp", larger.replace("trials = 2", "trials = 3"), "--replace", "--code"
    )
    assert "code: snapshot " in told
    assert "(changed value)" in told
    database.until_in("done", "exp")
    assert sorted(trial["values"] or [] for trial in database.trials("exp")) == [[1.0], [1.0], [2.0]]
    digests = [json.loads(database.tunectl("explain", "exp", n, "--json").stdout)["code"] for n in "012"]
    assert (digests[0], len({*digests})) == (digests[1], 2)
    assert f"snapshot {digests[2][:12]}" in database.tunectl("explain", "exp", "2").stdout
    assert f"Code       snapshot {digests[2][:12]}" in database.tunectl("show", "exp").stdout
    tried = database.tunectl("try", str(tmp_path / "exp.toml"))
    assert '{"value": 2}' in tried.stdout
    assert "there is no" not in tried.stderr


def test_a_set_up_runs_once_before_the_first_trial_and_rests_while_it_fails(
    database: Daemon, tmp_path: Path
) -> None:
    code = written(tmp_path / "code")
    runs = tmp_path / "runs"
    setup = f"echo began; echo x >> {runs}; pwd; [ -e {tmp_path}/good ] || exit 3; echo made > {{code}}/made"
    more = f"setup = {json.dumps(['sh', '-c', setup])}\nsetup_timeout = 60"
    submitted(database, tmp_path, "exp", an_experiment(code, more, xs=2))

    def note() -> str:
        return "; ".join(each["note"] for each in database.status()["experiments"])

    until(lambda: "code.setup failed: exit status 3" in note(), what="the reason")
    until(lambda: "tunectl logs exp --setup" in note(), what="the way to its output")
    assert "began\n" in database.tunectl("logs", "exp", "--setup").stdout
    assert database.trials("exp") == []
    (tmp_path / "good").touch()
    database.until_in("done", "exp")
    [tree] = [path for path in (database.state / "code").iterdir() if path.is_dir()]
    assert (tree / "made").read_text() == "made\n"
    assert stat.S_IMODE((tree / "made").stat().st_mode) & 0o222 == 0
    assert database.tunectl("logs", "exp", "--setup").stdout.endswith(f"began\n{tree}\n")
    tried = len(runs.read_text().split())
    # Another experiment with the same code, and a start of the daemon, find it ready.
    database.abort()
    database.start()
    submitted(database, tmp_path, "other", an_experiment(code, more))
    database.until_in("done", "other")
    assert len(runs.read_text().split()) == tried
    # Somebody changed it: it is unpacked and set up again.
    (tree / "value").chmod(0o644)
    (tree / "value").write_text("spoiled\n")
    database.abort()
    database.start()
    assert database.run("third", an_experiment(code, more))["counts"]["complete"] == 1
    assert len(runs.read_text().split()) == tried + 1


def test_a_daemon_that_is_killed_while_it_unpacks_leaves_no_half_tree(
    database: Daemon, tmp_path: Path
) -> None:
    code = written(tmp_path / "code")
    for number in range(2000):
        (code / f"file-{number}").write_text(f"{number}\n")
    trees = database.state / "code"
    submitted(database, tmp_path, "exp", an_experiment(code))
    until(lambda: any(trees.iterdir()), what="the first of its files", seconds=60)
    database.crash()
    database.start()
    database.until_in("done", "exp")
    # On a busy machine its trial may have been claimed by the time of the crash, and is then given back.
    assert [trial["values"] for trial in database.trials("exp") if trial["values"]] == [[1.0]]
    [tree] = [path for path in trees.iterdir() if path.is_dir()]
    assert {path.name for path in trees.iterdir()} == {tree.name, f"{tree.name}.files"}
    assert len(list(tree.glob("file-*"))) == 2000


def test_code_that_cannot_be_taken_is_refused_and_leaves_nothing(database: Daemon, tmp_path: Path) -> None:
    code = written(tmp_path / "code")
    text = an_experiment(code)
    os.mkfifo(code / "pipe")
    (code / "out").symlink_to("/etc")
    told = submitted(database, tmp_path, "exp", text)
    assert "code.dir: found pipe: a FIFO" in told
    assert "code.dir: found out: a link to '/etc', which leaves it" in told
    # A copy that nobody checked goes to rejected/.
    database.drop("exp", text)
    assert "code.dir: found pipe: a FIFO" in database.rejection("exp")
    for name in ("pipe", "out"):
        (code / name).unlink()
    told = submitted(database, tmp_path, "exp", text.replace("[code]\n", '[code]\nlimit = "1M"\n'))
    assert "submitted and taken" in told
    (code / "big").write_bytes(bytes(2 * 2**20))
    database.until_in("done", "exp")
    small = text.replace("[code]\n", '[code]\nlimit = "1M"\n')
    assert "at most 1M (code.limit" in submitted(database, tmp_path, "large", small)
    assert [path.name for path in database.spool.iterdir() if path.name.endswith(".code")] == []
    assert list((database.spool / "active").iterdir()) == []


def test_a_damaged_snapshot_is_found_by_its_digest_and_costs_no_point(
    database: Daemon, tmp_path: Path
) -> None:
    code = written(tmp_path / "code")
    (code / "noise").write_bytes(os.urandom(100_000))
    text = an_experiment(code, xs=2, budget="[budget]\ntrials = 1\n")
    database.drop("exp", text)
    database.until_in("done", "exp")
    for path in (database.state / "code").iterdir():
        if path.is_file():
            path.unlink()
    if database.storage.startswith("sqlite"):
        changed = "CAST(substr(content, 1, 60000) || x'00' || substr(content, 60002) AS BLOB)"
        query_sqlite(database, f"UPDATE t_code_part SET content = {changed}")
    else:
        query(database.storage, "UPDATE t_code_part SET content = set_byte(content, 60000, 0)")
    database.abort()
    database.start()
    database.until_joined()
    submitted(database, tmp_path, "exp", text.replace("trials = 1", "trials = 2"), "--replace")

    def note() -> str:
        return "; ".join(each["note"] for each in database.status()["experiments"])

    until(
        lambda: "of its code is damaged in the database" in note(),
        what=lambda: f"the reason, not {note()!r}; log:\n{database.log_tail()}",
        seconds=60,
    )
    assert len(database.trials("exp")) == 1
    # Given again, it is written anew.
    told = submitted(
        database, tmp_path, "exp", text.replace("trials = 1", "trials = 2"), "--replace", "--code"
    )
    assert "nothing differs from the file" in told, told
    database.until_in("done", "exp")
    assert len(database.trials("exp")) == 2


def query_sqlite(daemon: Daemon, statement: str) -> None:
    with sqlite3.connect(daemon.storage.removeprefix("sqlite:///")) as connection:
        connection.execute(statement)
