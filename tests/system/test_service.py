"""The service on two booted hosts: what an administrator does, and what must come of it."""

from __future__ import annotations

import json

from tests.acceptance.daemon import an_experiment
from tests.system.fleet import GRID, PASSWORD, Fleet, Host, sleeping, stubborn
from tests.waiting import until
from tuned import __version__

#: Reads our file as needrestart does, and prints whom it leaves alone.
_NEEDRESTART = (
    'our %nrconf; do "/etc/needrestart/conf.d/tuned-hpo.conf"; '
    "print grep { $nrconf{override_rc}{$_} == 0 } keys %{$nrconf{override_rc}};"
)


def test_an_installation_starts_nothing_and_makes_a_sticky_spool(fleet: Fleet) -> None:
    host = fleet.alpha
    assert host.is_active() == "inactive"
    assert host.run("systemctl", "is-enabled", "tuned", is_checked=False).stdout.strip() == "disabled"
    assert host.run("stat", "-c", "%a %U:%G", "/var/spool/tuned").stdout.strip() == "3770 root:tuned"
    for unit in ("tuned.service", "tuned-settle.service", "tuned-dashboard.service"):
        assert host.run("systemd-analyze", "verify", unit).stderr == ""
        host.run("systemd-analyze", "security", "--threshold=20", unit)


def test_enable_now_returns_when_the_daemon_serves_and_it_is_in_a_group_of_its_own(fleet: Fleet) -> None:
    for host in (fleet.alpha, fleet.beta):
        host.run("systemctl", "enable", "--now", "tuned")
        status = json.loads(host.tunectl("status", "--json", user="bob"))
        assert (status["host"], status["state"], status["isolation"]) == (host.name, "running", "cgroup")
        group = host.path(f"/proc/{host.main_pid()}/cgroup").read_text()
        assert group.strip().endswith("/tuned.service/supervisor")


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


def test_a_drain_under_load_lets_trials_end_and_is_not_restarted(fleet: Fleet, alpha: Host) -> None:
    # Longer than systemd waits for a service that said that it stops.
    alpha.override("TimeoutStopSec=2")
    alpha.drop("drain", an_experiment("sleep 6", more=GRID))
    alpha.until_running(2)
    alpha.tunectl("drain", "--wait", user="alice")
    until(lambda: alpha.is_active() == "inactive", what="the unit to be inactive")
    assert alpha.property("Result") == "success"
    assert set(fleet.states("drain")) == {"COMPLETE"}


def test_a_killed_daemon_is_restarted_and_its_search_goes_on(fleet: Fleet, alpha: Host) -> None:
    alpha.drop("kill", sleeping("/tmp/no"))
    alpha.until_running(2)
    before = alpha.main_pid()
    alpha.run("kill", "-KILL", str(before))
    until(lambda: alpha.main_pid() not in {0, before}, what="the restart", seconds=60)
    until(lambda: alpha.is_active() == "active", what="the daemon to be ready", seconds=60)
    alpha.until_running(2)
    assert fleet.states("kill") == ["FAIL"] * 2 + ["RUNNING"] * 2
    assert fleet.causes("kill") == ["lost"] * 2


def test_a_killed_daemon_that_is_not_restarted_is_settled_all_the_same(fleet: Fleet, alpha: Host) -> None:
    alpha.override("Restart=no")
    alpha.drop("settle", stubborn())
    alpha.until_running(2)
    alpha.run("kill", "-KILL", str(alpha.main_pid()))
    until(lambda: alpha.is_active() == "failed", what="the unit to have failed", seconds=60)
    assert alpha.trial_processes() == []
    until(lambda: fleet.states("settle") == ["FAIL"] * 2, what=f"the settlement\n{alpha.log()}", seconds=60)


def test_a_trial_that_kills_the_keeper_only_hurts_trials(fleet: Fleet, alpha: Host) -> None:
    alpha.drop("killer", an_experiment("sleep 1; kill -KILL $PPID; sleep 1000", high=0, more=GRID))
    alpha.until_running(1)
    until(lambda: "FAIL" in fleet.states("killer"), what="the loss", seconds=60)
    assert set(fleet.causes("killer")) == {"lost"}
    assert alpha.is_active() == "active"
    alpha.tunectl("cancel", "killer")
    alpha.drop("after", an_experiment(high=0, more=GRID))
    alpha.until_in("done", "after")
    assert fleet.states("after") == ["COMPLETE"]


def test_a_process_that_moved_into_the_daemons_group_ends_with_its_trial(alpha: Host) -> None:
    own = r"/sys/fs/cgroup$(sed -n 's,^0::\(.*\)/trials/.*,\1,p' /proc/self/cgroup)"
    moves = "echo $$ > $0/supervisor/cgroup.procs && echo $$ > moved; exec sleep 1000"
    waits = "until [ -s moved ]; do sleep 0.1; done; cat /proc/$(cat moved)/cgroup"
    script = f"setsid --fork sh -c '{moves}' {own}; {waits}"
    alpha.drop("moved", an_experiment(script, high=0))
    alpha.until_in("done", "moved")
    assert "/tuned.service/supervisor" in alpha.tunectl("logs", "moved")
    assert alpha.trial_processes() == []
    assert json.loads(alpha.tunectl("status", "--json"))["isolation"] == "cgroup"


def test_a_frozen_daemon_is_restarted_by_the_watchdog(alpha: Host) -> None:
    alpha.override("WatchdogSec=4")
    alpha.run("systemctl", "restart", "tuned")
    before = alpha.main_pid()
    alpha.run("kill", "-STOP", str(before))
    until(lambda: alpha.main_pid() not in {0, before}, what="the restart", seconds=60)
    until(lambda: alpha.is_active() == "active", what="the daemon to be ready", seconds=60)
    assert [e for e in alpha.entries("UNIT=tuned.service") if "Watchdog timeout" in str(e["MESSAGE"])]


def test_a_rebooted_host_goes_on_by_itself(fleet: Fleet, beta: Host) -> None:
    beta.run("systemctl", "enable", "tuned")
    beta.drop("reboot", stubborn())
    beta.until_running(2)
    beta.reboot()
    until(lambda: beta.is_active() == "active", what="the daemon to be back", seconds=60)
    states = ["FAIL"] * 2 + ["RUNNING"] * 2
    until(
        lambda: fleet.states("reboot") == states,
        what=lambda: f"two more trials: {fleet.states('reboot')}\n{beta.log()}",
        seconds=60,
    )


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


def test_the_dashboard_is_off_until_it_is_wanted_and_shows_the_daemons_studies(alpha: Host) -> None:
    alpha.drop("shown", an_experiment(high=0, more=GRID))
    alpha.until_in("done", "shown")
    assert (
        alpha.run("systemctl", "is-enabled", "tuned-dashboard", is_checked=False).stdout.strip() == "disabled"
    )
    alpha.run("systemctl", "enable", "--now", "tuned-dashboard")

    def studies() -> str:
        script = (
            "from urllib.request import urlopen as u; print(u('http://127.0.0.1:8080/api/studies').read())"
        )
        return alpha.run("python3", "-c", script, is_checked=False).stdout

    until(lambda: '"study_name": "shown"' in studies(), what="the study in the dashboard", seconds=60)
    alpha.run("systemctl", "disable", "--now", "tuned-dashboard")
    assert (
        alpha.run("systemctl", "is-active", "tuned-dashboard", is_checked=False).stdout.strip() == "inactive"
    )


def test_an_upgrade_leaves_the_running_daemon_and_its_trials_alone(fleet: Fleet, alpha: Host) -> None:
    alpha.drop("upgrade", sleeping("/tmp/no"))
    alpha.until_running(2)
    before = alpha.main_pid()
    said = alpha.install_newer("99.0")
    assert (alpha.main_pid(), alpha.is_active()) == (before, "active")
    alpha.until_running(2)
    assert "tunectl drain --wait && systemctl start tuned" in said
    status = alpha.tunectl("status")
    assert f"tuned {__version__}, pid {before}" in status
    assert "99.0 is installed" in status
    assert "tuned" in alpha.run("perl", "-e", _NEEDRESTART).stdout
    alpha.tunectl("abort")
    until(lambda: alpha.is_active() == "inactive", what="the old daemon to end")
    alpha.run("systemctl", "start", "tuned")
    assert "tuned 99.0, pid" in alpha.tunectl("status")
    alpha.until_running(2)
    assert set(fleet.causes("upgrade")) == {"aborted"}


def test_a_purge_keeps_what_was_found_and_asked_for_unless_told(fleet: Fleet) -> None:
    host = fleet.beta
    host.run("systemctl", "start", "tuned")
    host.run("dpkg", "--purge", "tuned-hpo")
    assert host.is_active() in {"inactive", "unknown"}
    assert host.path("/var/lib/tuned/installation.json").exists()
    assert host.path("/var/spool/tuned/done").exists()
    assert not host.path("/etc/tuned").exists()
    host.run("dpkg", "--install", "/var/tmp/tuned.deb")
    host.run("env", "TUNED_PURGE_DATA=yes", "dpkg", "--purge", "tuned-hpo")
    assert not host.path("/var/lib/tuned").exists()
    assert not host.path("/var/spool/tuned").exists()
