"""The table [fleet]: the hosts that take part, and why one does not."""

from __future__ import annotations

import pytest

from tests.factories import make_experiment
from tests.unit.experiment.sources import MINIMAL
from tuned.errors import InvalidInput
from tuned.experiment.differences import are_replaceable, differences
from tuned.experiment.experiment import defined, parse
from tuned.experiment.likeness import priority_in
from tuned.experiment.summary import summary
from tuned.experiment.tables.fleet import Membership, Participation


def fleet_of(keys: str) -> Participation:
    return make_experiment(f"[fleet]\n{keys}").fleet


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("hosts = []", 'fleet.hosts: found an empty array, expected "all", "here", or an array of names'),
        ('hosts = "h1"', 'fleet.hosts: found "h1", expected "all", "here", or an array of names'),
        ('hosts = ["h 1"]', "fleet.hosts: found an array of something else"),
        ('labels = ["a b"]', 'fleet.labels[0]: found "a b", expected 1 to 100 letters'),
        ("host = 1", "fleet.host: found an unknown key, expected hosts, labels or priority"),
        ("priority = 101", "fleet.priority: found 101, expected at most 100"),
        ("priority = -101", "fleet.priority: found -101, expected at least -100"),
        ('priority = "high"', 'fleet.priority: found "high", expected an integer'),
    ],
)
def test_a_wrong_key_is_told(keys: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(f"{MINIMAL}\n[fleet]\n{keys}\n".encode(), "exp.toml")
    assert problem in str(caught.value)


def test_all_hosts_that_are_not_kept_out_take_part() -> None:
    fleet = make_experiment().fleet
    assert fleet.invites("any")
    assert fleet.is_shared
    assert Membership(host="any").refusal(fleet, origin="h1") == ""


def test_named_hosts_alone_take_part_wherever_the_file_is_dropped() -> None:
    fleet = fleet_of('hosts = ["h1", "h2"]')
    assert [fleet.invites(host) for host in ("h1", "h2", "h3")] == [True, True, False]
    assert Membership(host="h2").refusal(fleet, origin="h3") == ""
    assert Membership(host="h3").refusal(fleet, origin="") == "it is for h1 and h2 (fleet.hosts)"


def test_here_is_each_host_on_which_the_file_is_dropped() -> None:
    fleet = fleet_of('hosts = "here"')
    assert not fleet.is_shared
    assert not fleet.invites("h1")
    assert Membership(host="h1").refusal(fleet, origin="") == ""
    assert "on which its file is dropped" in Membership(host="h1").refusal(fleet, origin="h2")


def test_a_host_without_a_label_says_which_it_lacks() -> None:
    fleet = fleet_of('labels = ["a100", "scratch"]')
    host = Membership(host="h1", labels=("scratch", "v100"))
    assert host.refusal(fleet, origin="") == "needs label a100, this host has scratch, v100"
    assert Membership(host="h1").refusal(fleet, origin="") == "needs labels a100, scratch, this host has none"
    assert Membership(host="h1", labels=("scratch", "a100")).refusal(fleet, origin="h2") == ""


def test_a_host_that_accepts_nothing_works_on_what_is_dropped_on_it() -> None:
    fleet, host = make_experiment().fleet, Membership(host="h1", accepts=False)
    assert host.refusal(fleet, origin="") == ""
    assert "takes only what is dropped on it" in host.refusal(fleet, origin="h2")


def test_the_definition_keeps_the_table_and_the_summary_says_it() -> None:
    experiment = make_experiment('[fleet]\nhosts = ["h1"]\nlabels = ["a100"]')
    assert defined(experiment.definition(), "exp").fleet == experiment.fleet
    assert "hosts: h1, with label a100" in summary(experiment)
    assert not [line for line in summary(make_experiment()) if line.startswith("hosts:")]


def test_a_priority_is_of_the_definition_and_may_be_replaced() -> None:
    mine, theirs = make_experiment("[fleet]\npriority = -3"), make_experiment()
    found = differences(mine.definition(), theirs.definition())
    assert [each.as_change for each in found] == ["fleet.priority: -3, was 0"]
    assert are_replaceable(found)
    assert priority_in(mine.definition()) == -3
    assert "priority: -3" in summary(mine)
    assert not [line for line in summary(theirs) if line.startswith("priority:")]
