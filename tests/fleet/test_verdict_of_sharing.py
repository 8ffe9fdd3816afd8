"""The verdict on what a fleet shares: files, code, and requests of one host to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from tests.fleet.asking import END_SECONDS, Obeyed, Request, broken
from tests.fleet.hosts import FleetHost, Freeze
from tests.fleet.lapse import Lapse
from tests.fleet.ledger import Ledger, Look, SetUp
from tests.fleet.snapshots import Source, began_unprepared, left_in_part, ran_otherwise, set_up_again
from tests.fleet.test_verdict import evaluation
from tests.fleet.verdict import MOST_TURNS, Study
from tuned.disk.code import archive, trees
from tuned.disk.code.trees import Tree

LOOK = Look(claim="0", attempt=1, host="h0", at=5, seen="whole")
DRAIN = Request(command="drain", target="h0", asked_on="h1", asked=10, answered=12, status=0)
OBEYED = Obeyed(command="drain", host="h0", asked_on="h1", at=11)


@pytest.fixture
def hosts(tmp_path: Path) -> dict[str, FleetHost]:
    return {name: FleetHost(tmp_path / name, storage="sqlite://") for name in ("h0", "h1")}


def test_a_host_at_work_that_takes_no_part_is_found(hosts: dict[str, FleetHost]) -> None:
    def idle(turns: int, *, at: float = 0) -> list[str]:
        given = [evaluation(n, n + at, n + 1) for n in range(turns)]
        others = [evaluation(100 + n, n + 0.5, n + 1, host="h1") for n in range(turns)]
        study = Study(optuna.create_study(), given, hosts, set(), claims={}, others=others)
        return [host for host in hosts if study.turns_without(host) >= MOST_TURNS]

    assert idle(MOST_TURNS) == ["h1"]
    assert idle(MOST_TURNS - 1) == []
    # All was given before it came.
    assert idle(MOST_TURNS, at=-1000) == []


def test_a_program_that_is_not_the_one_of_the_snapshot_is_found() -> None:
    good = evaluation(0, 0, 1)
    assert ran_otherwise([good], [LOOK], "whole") == []
    assert ran_otherwise([good], [], "whole") == [str(good)]
    other = replace(good, value=1000.0)
    assert ran_otherwise([other], [LOOK], "whole") == [str(other)]
    partial = replace(LOOK, seen="half")
    assert ran_otherwise([good], [partial], "whole") == [str(partial)]


def test_a_set_up_that_runs_again_is_found_unless_its_daemon_died(hosts: dict[str, FleetHost]) -> None:
    twice = [SetUp(host="h0", started=1, ended=2), SetUp(host="h0", started=4, ended=4.5)]
    late = replace(LOOK, at=6)
    assert set_up_again(twice[:1], [late], hosts) == []
    assert len(set_up_again(twice, [late], hosts)) == 1
    in_vain = [replace(twice[0], ended=None), twice[1]]
    assert len(set_up_again(in_vain, [late], hosts)) == 1
    hosts["h0"].absences.append(Freeze(began=3))
    assert set_up_again(twice, [late], hosts) == set_up_again(in_vain, [late], hosts) == []
    # A trial has used it: it was written down.
    assert len(set_up_again(twice, [replace(LOOK, at=2.5)], hosts)) == 1


def test_a_set_up_beside_another_one_is_found(hosts: dict[str, FleetHost]) -> None:
    hosts["h0"].stops.append(1.5)
    beside = [SetUp(host="h0", started=1, ended=9), SetUp(host="h0", started=4, ended=5)]
    assert len(set_up_again(beside, [], hosts)) == 1


def test_a_trial_before_the_end_of_the_set_up_is_found() -> None:
    assert began_unprepared([SetUp(host="h0", started=1, ended=2)], [LOOK]) == []
    for set_up in (SetUp(host="h0", started=1), SetUp(host="h0", started=1, ended=6)):
        assert began_unprepared([set_up], [LOOK]) == [str(LOOK)]
    assert began_unprepared([SetUp(host="h1", started=1, ended=2)], [LOOK]) == [str(LOOK)]


def test_code_that_is_left_in_part_is_found(
    hosts: dict[str, FleetHost], ledger: Ledger, tmp_path: Path
) -> None:
    host = hosts["h0"]
    tree = unpacked(host, ledger, tmp_path / "code")
    assert left_in_part(host) == []
    scratch = tree.path.with_name(".new-1")
    scratch.touch()
    assert left_in_part(host) == []
    host.launched_at = scratch.stat().st_mtime + 1
    assert left_in_part(host) == [str(scratch)]
    scratch.unlink()
    (tree.path / "one").chmod(0o644)
    assert left_in_part(host) == [str(tree.path)]
    (tree.path / "one").write_text("2\n")
    (tree.path / "one").chmod(0o444)
    assert left_in_part(host) == [str(tree.path)]


def unpacked(host: FleetHost, ledger: Ledger, directory: Path) -> Tree:
    """A snapshot as a host unpacks and prepares it."""
    Source(directory, ledger, "")
    packed = directory.with_suffix(".packed")
    with packed.open("w+b") as opened:
        digest = archive.take(directory, opened, file="exp.toml", limit=10**8).digest
    (host.state / "code").mkdir(parents=True)
    tree = trees.tree_of(host.state / "code", digest, ["sh", "set-up.sh"])
    trees.receive(tree, 0, packed.read_bytes())
    trees.unpack(tree, digest, limit=10**8)
    (tree.path / "prepared").write_text("whole\n")
    trees.finish(tree)
    return tree


def found(request: Request, obeyed: list[Obeyed], hosts: dict[str, FleetHost], *lapses: Lapse) -> set[str]:
    return {promise for promise, what in broken([request], obeyed, hosts, lapses).items() if what}


def test_a_request_is_obeyed_once_and_its_daemon_ends(hosts: dict[str, FleetHost]) -> None:
    assert found(DRAIN, [OBEYED], hosts) == {"obeyed and did not end"}
    hosts["h0"].launches.append(OBEYED.at + END_SECONDS + 1)
    assert found(DRAIN, [OBEYED], hosts) == {"obeyed and did not end"}
    hosts["h0"].launches.append(OBEYED.at + 3)
    assert found(DRAIN, [OBEYED], hosts) == set()
    again = replace(OBEYED, at=13)
    assert found(DRAIN, [OBEYED, again], hosts) == {"obeyed twice or unasked"}
    lapse = Lapse(began=5, ended=12, claims=frozenset())
    assert found(DRAIN, [OBEYED, again], hosts, lapse) == set()
    assert "obeyed twice or unasked" in found(DRAIN, [replace(OBEYED, command="abort")], hosts)
    assert "obeyed twice or unasked" in found(DRAIN, [replace(OBEYED, at=9)], hosts)


def test_a_request_is_answered_as_it_was_obeyed(hosts: dict[str, FleetHost]) -> None:
    told = "told another thing than obeyed"
    hosts["h0"].launches.append(OBEYED.at + 3)
    assert found(DRAIN, [], hosts) == {told}
    assert found(DRAIN, [replace(OBEYED, is_refused=True)], hosts) == {told}
    withdrawn = replace(DRAIN, status=1, said="and the request is withdrawn; see")
    assert found(withdrawn, [OBEYED], hosts) == {told}
    assert found(withdrawn, [], hosts) == set()
    unknown = replace(DRAIN, status=1, said="the database is away")
    assert found(unknown, [OBEYED], hosts) == found(unknown, [], hosts) == set()
    assert found(replace(DRAIN, status=None), [OBEYED], hosts) == {told}
