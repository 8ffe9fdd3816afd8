"""The service on two booted hosts: what an administrator does, and what must come of it."""

from __future__ import annotations

import json

from tests.acceptance.daemon import an_experiment
from tests.system.fleet import GRID, PASSWORD, Fleet, Host, sleeping, stubborn
from tests.waiting import until

#: Reads our file as needrestart does, and prints whom it leaves alone.
_NEEDRESTART = (
    'our %nrconf; do "/etc/needrestart/conf.d/tuned-hpo.conf"; '
    "print grep { $nrconf{override_rc}{$_} == 0 } keys %{$nrconf{override_rc}};"
)


#: In tenths, at most.
_EXPOSURES = {"tuned": 13, "tuned-trials": 20, "tuned-settle": 20, "tuned-dashboard": 20}


def test_an_installation_starts_nothing_and_makes_a_sticky_spool(fleet: Fleet) -> None:
    host = fleet.alpha
    assert host.is_active() == "inactive"
    assert host.run("systemctl", "is-enabled", "tuned", is_checked=False).stdout.strip() == "disabled"
    places = ("/var/spool/tuned", "/var/lib/tuned-trials")
    assert host.run("stat", "-c", "%a %U:%G", *places).stdout.split("\n")[:2] == [
        "3770 tuned:tuned", "2750 tuned-trials:tuned"
    ]  # fmt: skip
    for unit, exposure in _EXPOSURES.items():
        assert host.run("systemd-analyze", "verify", f"{unit}.service").stderr == ""
        host.run("systemd-analyze", "security", f"--threshold={exposure}", f"{unit}.service")
    assert host.run("systemd-analyze", "verify", "tuned-trials.socket").stderr == ""


_UNITS = ("tuned", "tuned-trials")


def test_enable_now_returns_when_the_daemon_serves_and_trials_have_a_unit_of_their_own(fleet: Fleet) -> None:
    for host in (fleet.alpha, fleet.beta):
        host.run("systemctl", "enable", "--now", "tuned")
        status = json.loads(host.tunectl("status", "--json", user="bob"))
        assert (status["host"], status["state"], status["isolation"]) == (host.name, "running", "cgroup")
        assert status["trials_user"] == "tuned-trials"
        groups = [host.path(f"/proc/{host.main_pid(unit)}/cgroup").read_text() for unit in _UNITS]
        assert groups[0].strip().endswith("/tuned.service")
        assert groups[1].strip().endswith("/tuned-trials.service/supervisor")


def test_a_dropped_experiment_is_done_by_both_hosts(fleet: Fleet, alpha: Host, beta: Host) -> None:
    for host in (alpha, beta):
        host.drop("both", sleeping("/srv/go", high=9), hosts="all")
    for host in (alpha, beta):
        host.until_running(2)
    for host in (alpha, beta):
        host.write("/srv/go", "")
    for host in (alpha, beta):
        host.until_in("done", "both")
    assert fleet.states("both") == ["COMPLETE"] * 10
    assert fleet.hosts("both") == {"alpha", "beta"}


def test_a_stop_under_load_leaves_no_process_and_no_running_trial(fleet: Fleet, alpha: Host) -> None:
    alpha.drop("stop", stubborn())
    alpha.until_running(2)
    alpha.run("systemctl", "stop", "tuned")
    assert alpha.trial_processes() == []
    assert (alpha.property("ActiveState"), alpha.property("Result")) == ("inactive", "success")
    assert set(fleet.states("stop")) == {"FAIL"}
    assert set(fleet.causes("stop")) == {"aborted"}


def test_a_stop_ends_32_trials_with_detached_children_and_a_start_goes_on(fleet: Fleet, alpha: Host) -> None:
    alpha.configure(slots=32)
    alpha.run("systemctl", "restart", "tuned")
    alpha.drop("many", stubborn())
    alpha.until_running(32)
    alpha.run("systemctl", "stop", "tuned")
    assert alpha.trial_processes() == []
    assert fleet.states("many") == ["FAIL"] * 32
    assert set(fleet.causes("many")) == {"aborted"}
    until(lambda: alpha.is_active("tuned-trials") == "inactive", what="the keeper to be gone")
    alpha.run("systemctl", "start", "tuned")
    alpha.until_running(32)


def test_a_drain_under_load_lets_trials_end_and_is_not_restarted(fleet: Fleet, alpha: Host) -> None:
    # Longer than systemd waits for a service that said that it stops.
    alpha.override("TimeoutStopSec=2")
    alpha.drop("drain", an_experiment("sleep 6", more=GRID))
    alpha.until_running(2)
    alpha.tunectl("drain", "--wait", user="alice")
    until(lambda: alpha.is_active() == "inactive", what="the unit to be inactive")
    assert alpha.property("Result") == "success"
    assert set(fleet.states("drain")) == {"COMPLETE"}


def test_trials_outlive_a_daemon_that_is_killed_or_crashes_or_hangs_or_restarts(
    fleet: Fleet, alpha: Host
) -> None:
    alpha.override("WatchdogSec=10")
    alpha.run("systemctl", "restart", "tuned")
    alpha.drop("kill", sleeping("/srv/kill", high=3))
    alpha.until_running(2)
    keeper, trials = alpha.main_pid("tuned-trials"), alpha.children_of_keeper()
    for number in ("-KILL", "-SEGV", "-STOP"):
        before = alpha.main_pid()
        alpha.run("kill", number, str(before))
        alpha.until_another_than(before)
        alpha.until_running(2)
    assert [e for e in alpha.entries("UNIT=tuned.service") if "Watchdog timeout" in str(e["MESSAGE"])]
    before = alpha.main_pid()
    assert alpha.tunectl("restart", user="alice") == "restarted\n"
    assert alpha.main_pid() != before
    alpha.until_running(2)
    assert alpha.main_pid("tuned-trials") == keeper
    assert alpha.children_of_keeper() >= trials
    assert fleet.states("kill") == ["RUNNING"] * 2
    assert "2 trials that an earlier daemon began" in alpha.tunectl("status")
    alpha.write("/srv/kill", "")
    alpha.until_in("done", "kill")
    assert fleet.states("kill") == ["COMPLETE"] * 4


def test_a_killed_daemon_that_is_not_restarted_is_settled_all_the_same(fleet: Fleet, alpha: Host) -> None:
    alpha.override("Restart=no")
    alpha.drop("settle", stubborn())
    alpha.until_running(2)
    alpha.run("kill", "-KILL", str(alpha.main_pid()))
    until(lambda: alpha.is_active() == "failed", what="the unit to have failed", seconds=60)
    until(lambda: fleet.states("settle") == ["FAIL"] * 2, what=f"the settlement\n{alpha.log()}", seconds=60)
    assert alpha.trial_processes() == []


def test_a_daemon_that_fails_again_and_again_comes_back_and_a_stop_meanwhile_ends_its_trials(
    fleet: Fleet, alpha: Host
) -> None:
    assert alpha.property("StartLimitIntervalUSec") == "0"
    alpha.drop("again", stubborn())
    alpha.until_running(2)
    for _ in range(3):
        before = alpha.main_pid()
        alpha.run("kill", "-KILL", str(before))
        alpha.until_another_than(before)
    alpha.run("kill", "-KILL", str(alpha.main_pid()))
    until(alpha.is_paused, what=f"the pause\n{alpha.log()}", seconds=60)
    assert fleet.states("again") == ["RUNNING"] * 2
    alpha.run("systemctl", "stop", "tuned")
    until(lambda: fleet.states("again") == ["FAIL"] * 2, what=f"the settlement\n{alpha.log()}", seconds=60)
    assert alpha.trial_processes() == []
    assert alpha.is_active("tuned-trials") == "inactive"


def test_a_trial_that_kills_the_keeper_only_hurts_trials(fleet: Fleet, alpha: Host) -> None:
    alpha.drop("killer", an_experiment("kill -KILL $PPID; sleep 1000", high=0, more=GRID))
    until(lambda: "FAIL" in fleet.states_or_none("killer"), what=f"the loss\n{alpha.log()}", seconds=60)
    assert set(fleet.causes("killer")) == {"lost"}
    assert alpha.is_active() == "active"
    alpha.tunectl("cancel", "killer")
    alpha.drop("after", an_experiment(high=0, more=GRID))
    alpha.until_in("done", "after")
    assert fleet.states("after") == ["COMPLETE"]


def test_a_process_that_moved_into_the_keepers_group_ends_with_its_trial(alpha: Host) -> None:
    own = r"/sys/fs/cgroup$(sed -n 's,^0::\(.*\)/trials/.*,\1,p' /proc/self/cgroup)"
    moves = "echo $$ > $0/supervisor/cgroup.procs && echo $$ > moved; exec sleep 1000"
    waits = "until [ -s moved ]; do sleep 0.1; done; cat /proc/$(cat moved)/cgroup"
    script = f"setsid --fork sh -c '{moves}' {own}; {waits}"
    alpha.drop("moved", an_experiment(script, high=0))
    alpha.until_in("done", "moved")
    assert "/tuned-trials.service/supervisor" in alpha.tunectl("logs", "moved")
    assert alpha.trial_processes() == []
    assert json.loads(alpha.tunectl("status", "--json"))["isolation"] == "cgroup"


def test_a_keeper_that_hangs_is_ended_by_its_watchdog_and_another_one_begins(
    fleet: Fleet, alpha: Host
) -> None:
    alpha.override("WatchdogSec=4", unit="tuned-trials")
    alpha.run("systemctl", "restart", "tuned")
    alpha.drop("hang", stubborn())
    alpha.until_running(2)
    before = alpha.main_pid("tuned-trials")
    alpha.run("kill", "-STOP", str(before))
    alpha.until_another_than(before, unit="tuned-trials")
    alpha.until_running(2)
    until(lambda: fleet.states("hang") == ["FAIL"] * 2 + ["RUNNING"] * 2, what="the loss", seconds=60)
    assert set(fleet.causes("hang")) == {"lost"}


def test_a_rebooted_host_goes_on_by_itself(fleet: Fleet, beta: Host) -> None:
    beta.run("systemctl", "enable", "tuned")
    beta.drop("reboot", stubborn())
    beta.until_running(2)
    beta.reboot()
    until(lambda: beta.is_active() == "active", what="the daemon to be back", seconds=60)
    states = ["FAIL"] * 2 + ["RUNNING"] * 2
    until(lambda: fleet.states("reboot") == states, what=lambda: f"two more trials\n{beta.log()}", seconds=60)


def test_the_journal_has_a_trials_fields_its_output_and_what_it_means(alpha: Host) -> None:
    alpha.drop("fields", an_experiment("echo hello", high=0) + "\n[budget]\ntrials = 1\n")
    alpha.until_in("done", "fields")
    found = alpha.entries("TUNED_EXPERIMENT=fields", "TUNED_TRIAL=0")
    messages = [entry["MESSAGE"] for entry in found]
    assert "fields/0: hello" in messages
    [started] = [entry for entry in found if str(entry["MESSAGE"]).startswith("fields/0: trial started ")]
    assert (started["TUNED_HOST"], started["TUNED_ATTEMPT"]) == ("alpha", "1")
    assert started["TUNED_SLOT"] in {"0", "1"}
    assert started["_SYSTEMD_UNIT"] == "tuned.service"
    explained = alpha.run("journalctl", "--catalog", "TUNED_EXPERIMENT=fields", "TUNED_TRIAL=0").stdout
    assert "Subject: Trial 0 of fields started" in explained


def test_a_reload_takes_over_the_slots(alpha: Host) -> None:
    alpha.configure(slots=3)
    alpha.run("systemctl", "reload", "tuned")
    until(lambda: len(json.loads(alpha.tunectl("status", "--json"))["slots"]) == 3, what="three slots")
    assert alpha.is_active() == "active"


def test_a_plain_user_may_read_and_not_change_and_a_member_may(alpha: Host) -> None:
    refused = alpha.run("tunectl", "drain", user="bob", is_checked=False)
    assert (refused.returncode, "expected root, user tuned or group tuned" in refused.stderr) == (1, True)
    dropped = alpha.run("touch", "/var/spool/tuned/x.toml", user="bob", is_checked=False)
    assert dropped.returncode != 0
    alpha.tunectl("status", user="bob")
    alpha.tunectl("drain", "--wait", user="alice")


def test_members_cannot_touch_each_others_files(alpha: Host) -> None:
    alpha.run("systemctl", "stop", "tuned")
    alpha.drop("hers", an_experiment(high=0), user="alice")
    alpha.run("useradd", "--user-group", "--groups=tuned", "carol")
    assert alpha.run("rm", "-f", "/var/spool/tuned/hers.toml", user="carol", is_checked=False).returncode
    alpha.run("systemctl", "start", "tuned")
    alpha.until_in("done", "hers")


def test_trials_have_neither_the_password_nor_the_daemons_rights(alpha: Host) -> None:
    script = (
        "env | sort; grep Cap /proc/self/status; ls -l /proc/self/fd; tr '\\\\0' ' ' < /proc/self/cmdline"
    )
    alpha.drop("secret", an_experiment(script, high=0))
    alpha.until_in("done", "secret")
    printed = alpha.tunectl("logs", "secret")
    assert "PGPASSFILE" not in printed
    assert "CREDENTIALS_DIRECTORY" not in printed
    assert {line.split()[1] for line in printed.splitlines() if line.startswith(("CapEff", "CapPrm"))} == {
        "0" * 16
    }
    assert PASSWORD not in alpha.run("journalctl", "--output=export", "--all").stdout
    daemon = alpha.path(f"/proc/{alpha.main_pid()}")
    assert PASSWORD not in (daemon / "cmdline").read_text() + (daemon / "environ").read_text()


def test_a_trial_is_a_stranger_to_the_daemon(alpha: Host) -> None:
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/tuned-trials.sock')"
    tries = [
        "cat /var/lib/tuned/installation.json", "ls /var/lib/tuned/outbox", "cat /etc/tuned/tuned.toml",
        "cat /run/credentials/tuned.service/pgpass", "cat /proc/{pid}/environ", "kill -0 {pid}",
        "kill -TERM {pid}", f'/usr/bin/python3 -c "{connect}"', "tunectl drain", "tunectl restart",
        "touch /var/spool/tuned/evil.toml", "mv /run/tuned-trials.sock /run/other",
    ]  # fmt: skip
    lines = [f"{each} >&2 && echo could: {number}" for number, each in enumerate(tries)]
    script = "; ".join(lines).replace("{pid}", str(alpha.main_pid()))
    alpha.write("/srv/tries.sh", f"id -un\n{script}\necho done\n")
    alpha.drop("stranger", an_experiment("sh /srv/tries.sh", high=0))
    alpha.until_in("done", "stranger")
    printed = alpha.tunectl("logs", "stranger", user="alice")
    assert "could:" not in printed
    assert ("tuned-trials" in printed, "done" in printed) == (True, True)
    assert alpha.run("tunectl", "logs", "stranger", user="bob", is_checked=False).returncode == 1
    assert alpha.is_active() == "active"


def test_the_daemon_gives_out_the_gpus_that_trials_see_and_sees_none_itself(alpha: Host) -> None:
    # A name is all that is looked at.
    alpha.run("touch", "/dev/nvidia0")
    alpha.run("systemctl", "restart", "tuned")
    assert [each["id"] for each in json.loads(alpha.tunectl("status", "--json"))["gpus"]] == ["0"]
    alpha.run("systemctl", "reload", "tuned")
    alpha.drop("card", an_experiment("echo card $CUDA_VISIBLE_DEVICES", high=0) + "[resources]\ngpus = 1\n")
    alpha.until_in("done", "card")
    assert "card 0" in alpha.tunectl("logs", "card")
    alpha.run("rm", "/dev/nvidia0")


def test_files_of_trials_that_only_they_may_enter_are_removed_all_the_same(alpha: Host) -> None:
    closed = "mkdir -m 700 $TUNED_POINT_DIR/closed work; touch $TUNED_POINT_DIR/closed/x; chmod 0 work"
    for name in ("cleaned", "deleted"):
        alpha.drop(name, an_experiment(closed, high=1, more=GRID))
        alpha.until_in("done", name)
    assert "checkpoints of 2 points" in alpha.tunectl("clean", "cleaned", user="alice")
    alpha.tunectl("delete", "--yes", "cleaned")
    alpha.tunectl("delete", "--yes", "deleted")
    names = ("-name", "closed", "-o", "-name", "cleaned-*", "-o", "-name", "deleted-*")
    found = ("find", "/var/lib/tuned-trials/trials", "/var/lib/tuned-trials/points", *names)
    until(lambda: not alpha.run(*found).stdout, what=f"the end of all of it\n{alpha.log()}", seconds=60)


_TRIES = """id -un; pwd
touch evil && echo could make
echo >> run.sh && echo could change
rm -f made && echo could remove
mkdir -m 500 $TUNED_POINT_DIR/closed
echo 0.5
"""

_CODE = """[objective]
command = ["sh", "run.sh"]
[code]
dir = "/srv/code"
setup = ["sh", "-c", "id -un; echo $HOME; mkdir -m 500 sub; echo > made"]
[fleet]
hosts = "here"
[space.x]
type = "int"
low = 0
high = 0
"""


def test_code_is_the_trials_users_who_cannot_write_to_it_and_the_daemon_has_none(alpha: Host) -> None:
    alpha.write("/srv/code/run.sh", _TRIES)
    alpha.write("/srv/code.toml", _CODE + GRID)
    alpha.tunectl("submit", "/srv/code.toml", user="alice")
    alpha.until_in("done", "code")
    printed = alpha.tunectl("logs", "code", user="alice")
    assert ("could" in printed, "tuned-trials\n/var/lib/tuned-trials/code/" in printed) == (False, True)
    assert "tuned-trials\n" in alpha.tunectl("logs", "code", "--setup", user="alice")
    of_others = ("find", "/var/lib/tuned-trials/code", "!", "-user", "tuned-trials")
    writable = ("find", "/var/lib/tuned-trials/code", "-mindepth", "2", "-perm", "/222")
    found = ("find", "/var/lib/tuned", "-name", "code*", "-o", "-name", "run.sh")
    assert [alpha.run(*each).stdout for each in (of_others, writable, found)] == ["", "", ""]
    assert alpha.run("find", "/var/lib/tuned-trials/code", "-name", "made").stdout.count("made") == 1
    # A directory that even its owner may not write to goes too.
    alpha.tunectl("delete", "--yes", "code")
    closed = ("find", "/var/lib/tuned-trials/points", "-name", "closed")
    until(lambda: not alpha.run(*closed).stdout, what=f"the end of its files\n{alpha.log()}", seconds=60)


def test_the_dashboard_is_off_until_it_is_wanted_and_shows_the_daemons_studies(alpha: Host) -> None:
    alpha.drop("shown", an_experiment(high=0, more=GRID))
    alpha.until_in("done", "shown")
    assert (
        alpha.run("systemctl", "is-enabled", "tuned-dashboard", is_checked=False).stdout.strip() == "disabled"
    )
    alpha.run("systemctl", "enable", "--now", "tuned-dashboard")

    def studies() -> str:
        script = "from urllib.request import urlopen as u; print(u('http://127.0.0.1:8080/optuna/api/studies').read())"
        return alpha.run("python3", "-c", script, is_checked=False).stdout

    until(lambda: '"study_name": "shown"' in studies(), what="the study in the dashboard", seconds=60)
    alpha.run("systemctl", "disable", "--now", "tuned-dashboard")
    assert (
        alpha.run("systemctl", "is-active", "tuned-dashboard", is_checked=False).stdout.strip() == "inactive"
    )


def test_an_upgrade_restarts_the_daemon_and_no_trial_notices(fleet: Fleet, alpha: Host) -> None:
    alpha.drop("upgrade", sleeping("/srv/upgrade", high=5))
    alpha.until_running(2)
    before, keeper, trials = alpha.main_pid(), alpha.main_pid("tuned-trials"), alpha.children_of_keeper()
    alpha.install_newer("99.0")
    assert (alpha.main_pid() != before, alpha.is_active()) == (True, "active")
    assert "tuned 99.0, pid" in alpha.tunectl("status")
    alpha.until_running(2)
    # As needrestart does it, if a library has changed.
    before = alpha.main_pid()
    alpha.run("/etc/needrestart/restart.d/tuned.service")
    assert alpha.main_pid() != before
    assert "tuned-trials" in alpha.run("perl", "-e", _NEEDRESTART).stdout
    alpha.until_running(2)
    assert (alpha.main_pid("tuned-trials"), alpha.children_of_keeper() >= trials) == (keeper, True)
    assert fleet.states("upgrade") == ["RUNNING"] * 2
    alpha.write("/srv/upgrade", "")
    alpha.until_in("done", "upgrade")
    assert fleet.states("upgrade") == ["COMPLETE"] * 6
    # Nothing runs: the old keeper has made room for one of the new version.
    alpha.until_another_than(keeper, unit="tuned-trials")


def test_a_purge_keeps_what_was_found_and_asked_for_unless_told(fleet: Fleet) -> None:
    host = fleet.beta
    host.run("systemctl", "start", "tuned")
    host.run("dpkg", "--purge", "tuned-hpo")
    assert host.is_active() in {"inactive", "unknown"}
    assert host.path("/var/lib/tuned/installation.json").exists()
    assert host.path("/var/spool/tuned/done").exists()
    assert host.path("/var/lib/tuned-trials/trials").exists()
    assert not host.path("/etc/tuned").exists()
    host.run("dpkg", "--install", "/var/tmp/tuned.deb")
    host.run("env", "TUNED_PURGE_DATA=yes", "dpkg", "--purge", "tuned-hpo")
    assert not host.path("/var/lib/tuned").exists()
    assert not host.path("/var/lib/tuned-trials").exists()
    assert not host.path("/var/spool/tuned").exists()
