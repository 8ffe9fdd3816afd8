"""Files come into the spool and go where their experiments go."""

from __future__ import annotations

from collections import Counter

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, first
from tests.waiting import until


def grid(daemon: Daemon, name: str, *, low: int = 0, high: int = 2, script: str = "true") -> str:
    more = '[sampler]\nname = "grid"\n'
    return an_experiment(script, low=low, high=high, more=more, count=daemon.count_file(name))


def test_a_dropped_file_runs_and_ends_in_done(shared: Daemon) -> None:
    summary = shared.run("dropped", grid(shared, "dropped"))
    assert shared.evaluations("dropped") == {"0": 1, "1": 1, "2": 1}
    assert summary["state"] == "done"
    assert summary["best"] is not None
    assert summary["best"]["params"] == {"x": 0}


def test_temporary_names_are_not_looked_at(shared: Daemon) -> None:
    names = [".hidden.toml", "half.toml.tmp", "half.toml.part", "half.toml~", "notes.txt"]
    for name in names:
        (shared.spool / name).write_text("not an experiment")
    shared.run("beside-temporaries", grid(shared, "beside-temporaries"))
    assert all((shared.spool / name).exists() for name in names)


def test_a_file_that_is_still_written_is_not_taken_half(shared: Daemon) -> None:
    text = grid(shared, "half-written")
    stream = shared.watching()
    with (shared.spool / "half-written.toml").open("w") as file:
        file.write(text[:40])
        file.flush()
        shared.run("after-half", grid(shared, "after-half"))
        assert (shared.spool / "half-written.toml").exists()
        file.write(text[40:])
    first(stream, "experiment-taken", experiment="half-written")
    shared.until_in("done", "half-written")


def test_files_dropped_while_the_daemon_was_down_are_taken_at_its_start(make: MakeDaemon) -> None:
    daemon = make()
    daemon.drop("early", grid(daemon, "early"))
    daemon.start().until_in("done", "early")
    assert daemon.evaluations("early") == {"0": 1, "1": 1, "2": 1}


def test_the_same_file_again_goes_on_where_the_study_is(shared: Daemon) -> None:
    text = grid(shared, "twice")
    shared.run("twice", text)
    shared.drop("twice", text)
    until((shared.spool / "done" / "twice.1.toml").exists, what="the second file to be done")
    assert shared.evaluations("twice") == {"0": 1, "1": 1, "2": 1}
    assert (shared.spool / "done" / "twice.toml").read_text() == text


def test_an_active_name_with_other_content_is_rejected_and_hurts_nobody(daemon: Daemon) -> None:
    daemon.drop("busy", grid(daemon, "busy", script="sleep 100"))
    daemon.until_running(2)
    daemon.drop("busy", grid(daemon, "busy", high=99))
    until((daemon.spool / "rejected" / "busy.toml").exists, what="the second file to be rejected")
    assert (daemon.spool / "rejected" / "busy.toml.error").read_text()
    assert daemon.place_of("busy") == "active"
    assert daemon.running() == 2


def test_a_done_name_with_another_space_is_rejected_with_the_difference(shared: Daemon) -> None:
    shared.run("changed", grid(shared, "changed"))
    stream = shared.watching()
    shared.drop("changed", grid(shared, "changed", high=7))
    event = first(stream, "experiment-rejected", file="changed.toml")
    assert "space.x.high" in event["message"]
    assert "7" in event["message"]


def test_what_is_removed_from_active_by_hand_starts_nothing_more(daemon: Daemon) -> None:
    daemon.drop("withdrawn", grid(daemon, "withdrawn", high=50, script="sleep 0.1"))
    until(lambda: len(daemon.evaluations("withdrawn")) >= 2, what="the first trials")
    (daemon.spool / "active" / "withdrawn.toml").unlink()
    until(lambda: not daemon.status()["experiments"], what="the experiment to leave this host")
    began = sum(daemon.evaluations("withdrawn").values())
    daemon.run("after", grid(daemon, "after"))
    assert sum(daemon.evaluations("withdrawn").values()) == began < 51
    assert not [trial for trial in daemon.trials("withdrawn") if trial["state"] != "COMPLETE"]


def test_a_bad_file_is_rejected_with_its_reasons_and_the_others_go_on(shared: Daemon) -> None:
    shared.drop("bad", an_experiment(high=-1, more='[budget]\ntrails = 3\n[sampler]\nname = "tpr"\n'))
    shared.run("good", grid(shared, "good"))
    error = shared.rejection("bad")
    assert "space.x" in error
    assert "budget.trails" in error
    assert "tpr" in error
    assert len(error.splitlines()) == 3


def test_links_and_folders_are_rejected_without_being_followed(shared: Daemon) -> None:
    target = shared.home / "target.toml"
    target.write_text(grid(shared, "linked"))
    (shared.spool / "linked.toml").symlink_to(target)
    (shared.spool / "folder.toml").mkdir()
    until(lambda: not (shared.spool / "linked.toml").is_symlink(), what="the link to be rejected")
    until(lambda: not (shared.spool / "folder.toml").exists(), what="the folder to be rejected")
    assert (shared.spool / "rejected" / "linked.toml.error").exists()
    assert (shared.spool / "rejected" / "folder.toml.error").exists()
    assert target.exists()
    assert not shared.evaluations("linked")


def test_three_hundred_files_at_once_are_all_taken(make: MakeDaemon) -> None:
    daemon = make()
    for number in range(300):
        daemon.drop(f"many-{number}", grid(daemon, "many", high=0))
    daemon.start()
    until(lambda: not list(daemon.spool.glob("*.toml")), what="the spool to be empty", seconds=60)
    places = Counter(daemon.place_of(f"many-{number}") for number in range(300))
    assert places["active"] + places["done"] == 300
    assert daemon.status()["state"] == "running"


def test_after_a_restart_active_files_go_on(daemon: Daemon) -> None:
    daemon.drop("resumed", grid(daemon, "resumed", high=20, script="sleep 0.05"))
    until(lambda: len(daemon.evaluations("resumed")) >= 4, what="the first trials")
    assert daemon.abort() == 0
    assert daemon.place_of("resumed") == "active"
    daemon.start().until_in("done", "resumed")
    complete = [trial.params["x"] for trial in daemon.study("resumed").trials if trial.values is not None]
    assert sorted(complete) == list(range(21))
