"""An experiment with its code, dropped on one host: each host unpacks it, and runs nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet
from tests.fleet.ledger import Ledger
from tests.fleet.test_drop_once import SPACE, until_noted
from tests.waiting import until

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)


def test_code_reaches_each_host_with_its_set_up_and_what_is_replaced_goes_everywhere(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    first, second = fleet.start(2, slots=1)
    code = tmp_path / "code"
    code.mkdir()
    (code / "value").write_text("1\n")
    pause = f"until [ -e {tmp_path}/$(cat value) ]; do sleep 0.05; done; echo 0"
    setup = json.dumps(
        ["sh", "-c", f"echo $TUNED_HOST >> {tmp_path}/hosts; [ -e {tmp_path}/ok-$TUNED_HOST ]"]
    )
    text = f'{ledger.objective(pause=pause, value="$(cat value)")}[code]\ndir = "{code}"\nsetup = {setup}\n'
    text += SPACE.format(high=7)
    (tmp_path / "ok-h0").touch()
    first.drop("exp", text)
    # The set-up fails on one host, which rests; the other one works.
    until_noted(second, "code.setup failed: exit status 1")
    until(lambda: first.running() == 1, what="h0 to work", seconds=60)
    assert {e.host for e in ledger.evaluations("exp")} == {"h0"}
    (tmp_path / "ok-h1").touch()
    until(lambda: second.running() == 1, what=lambda: f"h1 to work: {second.log_tail()}", seconds=90)
    # Other code, for what starts from now on, on all hosts; asked on the one that has only the file's text.
    (code / "value").write_text("2\n")
    file = tmp_path / "exp.toml"
    file.write_text(text)
    replaced = second.tunectl("submit", "--replace", "--code", str(file))
    assert "(changed value)" in replaced.stdout, replaced.stderr
    # The other host learns of it with its next beat.
    until(lambda: any(each["event"] == "definition replaced" for each in first.logged()), what="h0 to know")
    (tmp_path / "1").touch()
    (tmp_path / "2").touch()
    fleet.until_done("exp")
    values = [e.value for e in ledger.evaluations("exp")]
    assert sorted(e.x for e in ledger.evaluations("exp")) == list(range(8))
    assert (values.count(1.0), values.count(2.0)) == (2, 6)
    for host in (first, second):
        trees = [path for path in (host.state / "code").iterdir() if path.is_dir()]
        assert sorted((tree / "value").read_text() for tree in trees) == ["1\n", "2\n"]
    hosts = (tmp_path / "hosts").read_text().split()
    assert hosts.count("h0") == 2


def test_two_hosts_that_are_given_the_same_code_at_the_same_moment_agree(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    hosts = fleet.start(2, slots=1)
    texts = []
    for host in hosts:
        code = tmp_path / f"code-{host.name}"
        code.mkdir()
        (code / "value").write_text("1\n")
        (code / "large").write_bytes(bytes(range(256)) * 40_000)
        texts.append(
            f'{ledger.objective(value="$(cat value)")}[code]\ndir = "{code}"\n{SPACE.format(high=5)}'
        )
    for host, text in zip(hosts, texts, strict=True):
        host.drop("exp", text)
    fleet.until_done("exp")
    assert sorted(e.x for e in ledger.evaluations("exp")) == list(range(6))
    assert fleet.query("SELECT count(*) FROM t_code") == [(1,)]
    # Other code is refused, wherever it is dropped.
    (tmp_path / "code-h1" / "value").write_text("2\n")
    hosts[1].drop("exp", texts[1])
    assert "code: other files here than in the database (changed value)" in hosts[1].rejection("exp")
