"""Output and checkpoints of experiments that have ended, on hosts as people run them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, first
from tests.waiting import until

#: Leaves something in both of its directories.
LEAVES = 'echo output; echo x > file; echo x > "$TUNED_POINT_DIR/state"'


def left(daemon: Daemon, name: str) -> int:
    """How many trials of an experiment have their logs on a host."""
    return len([*daemon.state.glob(f"trials/{name}-*/*/output.log")])


def points(daemon: Daemon) -> int:
    return len([*daemon.state.glob("points/*/*/state")])


def told(daemon: Daemon, *arguments: str) -> Any:
    return json.loads(daemon.tunectl("clean", "--json", *arguments).stdout)


def test_files_of_ended_experiments_go_by_hand_and_by_the_settings_and_others_stay(
    make: MakeDaemon, database_url: str, tmp_path: Path
) -> None:
    daemon = make(storage=database_url, slots=3).start()
    gate = tmp_path / "gate"
    wait = f"{LEAVES}; until test -e {gate}; do sleep 0.05; done"
    daemon.drop("runs", an_experiment(wait, high=0))
    daemon.drop("paused", an_experiment(wait, high=5))
    daemon.until_running(3)
    daemon.tunectl("pause", "paused")
    # By name, nothing of an experiment that has not ended.
    for name in ("runs", "paused"):
        refused = daemon.tunectl("clean", name)
        assert (refused.returncode, f"cannot clean {name}: it has not ended" in refused.stderr) == (1, True)
    daemon.configure(slots=4)
    daemon.signal(signal.SIGHUP)
    daemon.run("done", an_experiment(LEAVES, high=2))
    daemon.run("more", an_experiment(LEAVES, high=3))
    assert (left(daemon, "done"), left(daemon, "more"), points(daemon)) == (3, 4, 10)
    # Without limits, nothing goes.
    assert "[keep] in tuned.toml sets no limit" in daemon.tunectl("clean").stdout
    dry = told(daemon, "--dry-run", "done")
    assert left(daemon, "done") == 3
    stream = daemon.watching()
    gone = told(daemon, "done")
    assert (gone["removed"], gone["freed_bytes"]) == (dry["removed"], dry["freed_bytes"])
    assert [(each["part"], each["count"]) for each in gone["removed"]] == [("output", 3), ("checkpoints", 3)]
    assert first(stream, "files-removed", experiment="done")["removed"]["rule"] == "asked"
    assert (left(daemon, "done"), left(daemon, "more"), points(daemon)) == (0, 4, 7)
    assert "no output on this host" in daemon.tunectl("logs", "done", "0").stderr
    assert daemon.summary("done")["counts"]["complete"] == 3
    # A reload takes limits over at once.
    with daemon.config.open("a") as config:
        config.write('[keep]\noutput = "1ms"\nsize = "1T"\n')
    daemon.signal(signal.SIGHUP)
    gone = first(stream, "files-removed", experiment="more")
    assert (gone["removed"]["part"], gone["removed"]["rule"], left(daemon, "more")) == ("output", "age", 0)
    assert (left(daemon, "runs") + left(daemon, "paused"), points(daemon)) == (3, 7)
    records = [each for each in daemon.logged() if each["event"] == "files removed"]
    assert [each["experiment"] for each in records] == ["done", "done", "more"]
    gate.touch()
    daemon.until_in("done", "runs")


def test_a_removal_that_is_killed_leaves_whole_directories_and_the_next_daemon_ends_it(
    make: MakeDaemon,
) -> None:
    daemon = make().start()
    daemon.run("exp", an_experiment(LEAVES, high=0))
    [folder] = daemon.state.glob("trials/exp-*")
    for number in range(1, 3000):
        (folder / str(number) / "work").mkdir(parents=True)
        (folder / str(number) / "output.log").write_text("x")
    process = daemon.tunectl_started("clean", "exp")
    aside = daemon.state / "trials" / ".removed"
    until(lambda: aside.is_dir() and any(aside.iterdir()), what="the removal to begin")
    daemon.kill()
    process.communicate()
    kept = [*folder.iterdir()] if folder.exists() else []
    assert [path for path in kept if not (path / "output.log").exists()] == []
    daemon.start()
    until(lambda: not any(aside.iterdir()), what="the rest of the removal", seconds=120)
    assert daemon.tunectl("clean", "exp").returncode == 0
    assert (left(daemon, "exp"), any(aside.iterdir())) == (0, False)


def test_each_of_two_hosts_cleans_its_own_disk_and_still_follows_a_deletion(
    make: MakeDaemon, postgresql_url: str
) -> None:
    one, two = (make(name, storage=postgresql_url, host=name).start() for name in ("one", "two"))
    text = an_experiment(f"{LEAVES}; sleep 0.2", high=19, more="[budget]\ntrials = 12\n")
    for host in (one, two):
        host.drop("exp", text)
    for host in (one, two):
        host.until_in("done", "exp")
    on_one, on_two = left(one, "exp"), left(two, "exp")
    assert min(on_one, on_two) > 0
    assert two.tunectl("clean", "exp").returncode == 0
    assert (left(one, "exp"), left(two, "exp")) == (on_one, 0)
    # The mark that is left tells a host that it took part.
    assert one.tunectl("delete", "--yes", "exp").returncode == 0
    until(lambda: two.place_of("exp") == "", what="the other host to remove its file")
