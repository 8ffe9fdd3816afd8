"""A person corrects a mistake while a fleet runs, or removes it whole."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until
from tuned.protocol.trials import StoryView


def printing(daemon: Daemon, text: str, *, high: int = 99) -> str:
    """Prints a text as long as the gate is closed, and into the checkpoints' directory, then a value."""
    gate = daemon.home / "gate"
    script = f"echo {text}; touch $TUNED_POINT_DIR/kept; until [ -e {gate} ]; do sleep 0.05; done"
    return an_experiment(script, high=high, more='[sampler]\nname = "grid"\n')


def saved(daemon: Daemon, text: str) -> str:
    file = daemon.home / "exp.toml"
    file.write_text(text)
    return str(file)


def outputs(daemon: Daemon) -> list[Path]:
    return [path for part in ("trials", "points") for path in (daemon.state / part).iterdir()]


def test_a_command_is_replaced_in_a_fleet_and_the_experiment_is_then_deleted(
    make: MakeDaemon, postgresql_url: str
) -> None:
    one, other = (make(host, storage=postgresql_url, host=host, slots=1) for host in ("alpha", "beta"))
    for daemon in (one, other):
        daemon.start()
        daemon.drop("exp", printing(one, "wrong"))
    for daemon in (one, other):
        daemon.until_running(1)
    answer = one.tunectl("submit", "--replace", saved(one, printing(one, "right")))
    assert (answer.returncode, "right" in answer.stdout, answer.stderr) == (0, True, "")
    until(
        lambda: (
            [each["revision"] for each in other.logged() if each["event"] == "definition replaced"] == [2]
        ),
        what="the other host to say that it took it up",
    )
    (one.home / "gate").touch()
    for daemon in (one, other):
        until(
            lambda: "right" in daemon.tunectl("logs", "exp").stdout,  # noqa: B023 (called here)
            what="a trial under the new definition",
        )
    revisions = {
        one.client.get(f"/v1/experiments/exp/trials/{trial['number']}", StoryView)["revision"]
        for trial in one.trials("exp")
    }
    assert revisions == {1, 2}
    assert "revision 1 of 2" in one.tunectl("explain", "exp", "0").stdout
    assert one.tunectl("delete", "--yes", "exp").returncode == 0
    assert (one.place_of("exp"), outputs(one)) == ("", [])
    until(lambda: not outputs(other) and not other.place_of("exp"), what="the other host to remove it")
    assert not other.status()["experiments"]
    assert one.tunectl("show", "exp").returncode == 1


def test_a_running_experiment_is_begun_anew_with_another_space(daemon: Daemon) -> None:
    daemon.drop("exp", printing(daemon, "first"))
    daemon.until_running(2)
    text = saved(daemon, printing(daemon, "second", high=4))
    refused = daemon.tunectl("submit", "--replace", text)
    assert (refused.returncode, "tunectl submit --fresh FILE" in refused.stderr) == (1, True)
    answer = daemon.tunectl("submit", "--fresh", "--yes", text)
    assert (answer.returncode, "submitted and taken" in answer.stdout) == (0, True), answer
    (daemon.home / "gate").touch()
    daemon.until_in("done", "exp")
    assert len(daemon.trials("exp")) == 5
    assert daemon.tunectl("submit", text).stdout.startswith("exp is done, 5 of 5 points; ")


def test_a_cancelled_experiment_goes_on_with_a_corrected_file(daemon: Daemon) -> None:
    daemon.drop("exp", printing(daemon, "wrong", high=3))
    daemon.until_running(2)
    assert daemon.tunectl("cancel", "exp").returncode == 0
    text = saved(daemon, printing(daemon, "right", high=3))
    refused = daemon.tunectl("submit", text)
    assert (refused.returncode, "tunectl submit --replace FILE" in refused.stderr) == (1, True)
    (daemon.home / "gate").touch()
    answer = daemon.tunectl("submit", "--replace", text)
    assert (answer.returncode, "it was cancelled and goes on" in answer.stdout) == (0, True), answer
    daemon.until_in("done", "exp")


def test_a_host_that_was_off_removes_a_deleted_experiment_when_it_is_back(
    make: MakeDaemon, postgresql_url: str
) -> None:
    one, other = (make(host, storage=postgresql_url, host=host, slots=1) for host in ("alpha", "beta"))
    for daemon in (one, other):
        daemon.start()
        daemon.drop("exp", printing(one, "text"))
        daemon.until_running(1)
    other.kill()
    assert outputs(other)
    assert one.tunectl("delete", "--yes", "exp").returncode == 0
    other.start()
    until(lambda: not outputs(other) and not other.place_of("exp"), what="the host to remove it")
    assert one.tunectl("show", "exp").returncode == 1
