"""An experiment that is dropped on one host: the others take it over, with their own settings and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet, FleetHost
from tests.fleet.ledger import Ledger
from tests.waiting import until
from tuned.protocol.experiments import ExperimentView

#: Daemons start slowly on a busy machine.
pytestmark = pytest.mark.timeout(300)

SPACE = '[space.x]\ntype = "int"\nlow = 0\nhigh = {high}\n[sampler]\nname = "grid"\n'


def test_a_file_that_one_host_took_runs_on_all_hosts_whenever_they_come(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    first, second = fleet.start(2, slots=1)
    first.drop("exp", held(ledger, tmp_path) + SPACE.format(high=11))
    until_at_work(ledger, first, second)
    assert (first.summary("exp")["origin"], second.summary("exp")["origin"]) == ("", "h0")
    assert "adopted from h0" in second.tunectl("status").stdout
    # A restart goes on, and a host that comes late joins.
    second.abort()
    second.start()
    [late] = fleet.start(1, slots=1)
    until_at_work(ledger, first, second, late)
    assert second.summary("exp")["origin"] == "h0"
    (tmp_path / "go").touch()
    fleet.until_done("exp")
    ended = [e.x for e in ledger.evaluations("exp") if e.ended is not None]
    assert sorted(ended) == list(range(12))


def test_a_host_rests_while_it_lacks_something_and_its_own_file_overrides_local_keys(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    first, second = fleet.start(2, slots=1)
    text = ledger.objective().replace("[objective]\n", f'[objective]\nworkdir = "{tmp_path}/work"\n')
    text += SPACE.format(high=9)
    first.drop("exp", text)
    for host in (first, second):
        until_noted(host, f"cannot run in {tmp_path}/work: there is no such directory")
    (tmp_path / "other").mkdir()
    second.drop("exp", text.replace("/work", "/other"))
    second.until_in("done", "exp")
    first.until_in("done", "exp")
    evaluations = ledger.evaluations("exp")
    assert (sorted(e.x for e in evaluations), {e.host for e in evaluations}) == ([*range(10)], {"h1"})
    assert len(fleet.study("exp").trials) == 10
    assert second.summary("exp")["origin"] == ""


def test_the_hosts_that_an_experiment_is_for_are_those_of_its_file(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    hosts = fleet.add(4)
    for host, settings in zip(hosts, ("", 'labels = ["a100"]\n', "", ""), strict=True):
        host.config.write_text(settings + host.config.read_text())
    hosts[3].config.write_text(hosts[3].config.read_text() + "[fleet]\naccept = false\n")
    for host in hosts:
        host.launch()
    for host in hosts:
        host.until_answering()
    objective = held(ledger, tmp_path) + SPACE.format(high=9)
    hosts[0].drop("labelled", f'{objective}[fleet]\nlabels = ["a100"]\n')
    hosts[0].drop("named", f'{objective}[fleet]\nhosts = ["h2"]\n')
    hosts[0].drop("here", f'{objective}[fleet]\nhosts = "here"\n')
    until_noted(hosts[0], "needs label a100, this host has none", "labelled")
    until_noted(hosts[0], "it is for h2 (fleet.hosts)", "named")
    until(lambda: hosts_of(ledger, "named") == {"h2"}, what="h2 to take it over", seconds=60)
    until(lambda: hosts_of(ledger, "labelled") == {"h1"}, what="h1 to take it over", seconds=60)
    assert "a100" in hosts[2].tunectl("hosts").stdout
    (tmp_path / "go").touch()
    for name in ("labelled", "named", "here"):
        hosts[0].until_in("done", name)
        assert sorted(e.x for e in ledger.evaluations(name)) == list(range(10))
    assert (hosts_of(ledger, "here"), hosts_of(ledger, "named")) == ({"h0"}, {"h2"})
    assert hosts_of(ledger, "labelled") == {"h1"}
    assert [host.place_of("here") for host in hosts] == ["done", "", "", ""]
    assert [hosts[3].place_of(name) for name in ("labelled", "named", "here")] == ["", "", ""]


def test_changes_reach_the_hosts_that_took_a_file_over_and_equal_drops_at_once_agree(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    hosts = fleet.start(3, slots=1)
    first, second, third = hosts
    text = held(ledger, tmp_path) + SPACE.format(high=9)
    for host in (first, second):
        host.drop("exp", text)
    until_at_work(ledger, *hosts)
    assert [host.summary("exp")["origin"] for host in (first, second)] == ["", ""]
    assert third.summary("exp")["origin"] in {"h0", "h1"}
    # Other local keys go where the file is from elsewhere, and the fleet's go everywhere.
    asked = third.tunectl(
        "submit", "--replace", "-", stdin=f'name = "exp"\nparallel = 7\n{text}[budget]\ntrials = 8\n'
    )
    assert "budget.trials" in asked.stdout
    third.tunectl("cancel", "exp")
    for host in hosts:
        host.until_in("cancelled", "exp")
    # Dropped again on one, it goes on where it was.
    first.drop("exp", f"{text}[budget]\ntrials = 8\n")
    until_at_work(ledger, *hosts)
    (tmp_path / "go").touch()
    fleet.until_done("exp")
    assert len([t for t in fleet.study("exp").trials if t.state.name == "COMPLETE"]) == 8
    # Files that differ are told so, wherever they are dropped.
    second.drop("exp", text.replace("high = 9", "high = 8"))
    assert "it exists with another definition: space.x.high: 8 here, 9" in second.rejection("exp")


def test_a_file_that_was_taken_over_is_paused_retried_replaced_and_restarted_as_any(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    first, second = fleet.start(2, slots=1)
    value = f"if [ $TUNED_PARAM_X != 3 ] || [ -e {tmp_path}/mended ]; then echo 1; else echo -; fi"
    wait = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo 0"
    text = ledger.objective(pause=wait, value=f"$({value})") + SPACE.format(high=5)
    first.drop("exp", text)
    until_at_work(ledger, first, second)
    # Asked on the host that took it over, for both.
    assert "paused" in second.tunectl("pause", "exp").stdout
    until(lambda: first.summary("exp")["state"] == "paused", what="h0 to pause", seconds=60)
    second.abort()
    second.start()
    until(lambda: "adopted from h0" in second.tunectl("status").stdout, what="h1 to go on", seconds=60)
    # Only local keys: those of all that follow the file.
    asked = first.tunectl("submit", "--replace", "-", stdin=f'name = "exp"\nparallel = 1\n{text}')
    assert "parallel: 1, was not set (on h0 and hosts that took the file over)" in asked.stdout
    until(
        lambda: second.client.get("/v1/experiments/exp", ExperimentView)["parallel"] == 1,
        what="h1 to follow",
        seconds=60,
    )
    assert "open" in second.tunectl("resume", "exp").stdout
    until_at_work(ledger, first, second)
    (tmp_path / "go").touch()
    fleet.until_done("exp")
    (tmp_path / "mended").touch()
    freed = second.tunectl("retry", "--failed", "exp")
    assert "1 failed point of exp" in freed.stdout, freed.stderr
    fleet.until_done("exp")
    complete = [t for t in fleet.study("exp").trials if t.state.name == "COMPLETE"]
    assert sorted(t.params["x"] for t in complete) == list(range(6))


def until_noted(host: FleetHost, note: str, name: str = "exp") -> None:
    """Until it rests there for this reason."""

    def is_so() -> bool:
        found = [each["note"] for each in host.status()["experiments"] if each["name"] == name]
        return any(note in each for each in found)

    until(is_so, what=lambda: f"the note {note!r}; log:\n{host.log_tail()}", seconds=60)


def hosts_of(ledger: Ledger, name: str) -> set[str]:
    return {e.host for e in ledger.evaluations(name)}


def test_a_hundred_points_that_were_dropped_once_are_shared_by_five_hosts(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    hosts = fleet.start(5, slots=1)
    hosts[0].drop("exp", held(ledger, tmp_path) + SPACE.format(high=99))
    until_at_work(ledger, *hosts)
    (tmp_path / "go").touch()
    fleet.until_done("exp")
    assert sorted(e.x for e in ledger.evaluations("exp")) == list(range(100))
    assert len(fleet.study("exp").trials) == 100


def held(ledger: Ledger, below: Path) -> str:
    """An objective whose evaluations wait until the test lets them go."""
    return ledger.objective(pause=f"until [ -e {below}/go ]; do sleep 0.05; done; echo 0")


def until_at_work(ledger: Ledger, *hosts: FleetHost) -> None:
    """Until each of them has an evaluation of the experiment that has not ended."""

    def running() -> set[str]:
        busy = {host.name for host in hosts if host.running()}
        return busy & {e.host for e in ledger.evaluations("exp")}

    until(
        lambda: running() == {host.name for host in hosts}, what=lambda: f"{hosts[-1].log_tail()}", seconds=60
    )
