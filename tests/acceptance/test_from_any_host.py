"""Two daemons on one database: each answers for the other, and is told what to do by way of it."""

from __future__ import annotations

import signal

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.waiting import until


def test_any_host_shows_why_a_trial_failed_and_names_the_host_of_others(
    make: MakeDaemon, postgresql_url: str
) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha").start()
    beta = make("b", storage=postgresql_url, host="beta", slots=1).start()
    script = r"printf 'step 1\n\000\n'; [ $TUNED_TRIAL = 0 ] || exit 3"
    only_beta = '[fleet]\nhosts = ["beta"]\n[sampler]\nname = "grid"\n'
    beta.run("odd", an_experiment(script, high=1, more=only_beta))
    failed, good = (alpha.tunectl("logs", "odd", number) for number in ("1", "0"))
    assert failed.stderr == ""
    assert failed.stdout == "[tuned: the end of its output on host beta, from the database]\nstep 1\n\0\n"
    assert "it ran on host beta" in good.stderr


def test_any_host_is_drained_aborted_and_restarted_from_another_one(
    make: MakeDaemon, postgresql_url: str
) -> None:
    alpha, beta, gamma = (make(name, storage=postgresql_url) for name in ("a", "b", "c"))
    # It begins anew by the command by which it began.
    beta.is_begun_anew = True
    for daemon, name in ((alpha, "alpha"), (beta, "beta"), (gamma, "gamma")):
        # A busy machine may be late with beats, and takes long for a restart: nobody takes it for a death.
        daemon.interval = "1s"
        daemon.configure(slots=1, host=name, expire="2min")
        daemon.start().until_joined()
    gate = beta.home / "gate"
    gated = an_experiment(
        f"until [ -e {gate} ]; do sleep 0.05; done", high=0, more="[fleet]\nhosts = ['beta']"
    )
    alpha.drop("gated", gated)
    beta.until_running(1)

    # It tries its code and settings first, which takes a busy machine long.
    restarting = alpha.tunectl_started("restart", "--host", "beta")
    assert restarting.communicate(timeout=150)[0].startswith("beta: restarts, seen after ")
    until(lambda: joined(beta) == 2, what="the daemon that was begun anew")
    said = alpha.tunectl("drain", "--host", "beta")
    assert (said.stdout.partition(",")[0], said.returncode) == ("beta: draining", 0), said.stderr
    until(lambda: beta.status()["state"] == "draining", what="the drain")
    gate.touch()
    assert beta.wait() == 0
    assert [each["state"] for each in alpha.trials("gated")] == ["COMPLETE"]
    asked = [line for line in beta.logged() if line["event"] == "request of another host"]
    assert [(line["command"], line["asked_on"]) for line in asked] == [
        ("restart", "alpha"),
        ("drain", "alpha"),
    ]

    said = alpha.tunectl("abort", "--host", "gamma")
    assert (said.returncode, gamma.wait()) == (0, 0), said.stderr
    refused = alpha.tunectl("abort", "--host", "gamma")
    assert (refused.returncode, "it is dead or has stopped" in refused.stderr) == (1, True)
    beta.start()
    beta.until_joined()
    assert beta.status()["state"] == "running"


def joined(daemon: Daemon) -> int:
    return [line["event"] for line in daemon.logged()].count("host joined")


def test_a_host_that_does_not_answer_is_told_within_three_beats(
    make: MakeDaemon, postgresql_url: str
) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha").start()
    beta = make("b", storage=postgresql_url, host="beta").start()
    for daemon in (alpha, beta):
        daemon.until_joined()
    beta.signal(signal.SIGSTOP)
    try:
        refused = alpha.tunectl("drain", "--host", "beta")
    finally:
        beta.signal(signal.SIGCONT)
    assert (refused.returncode, "dead" in refused.stderr or "3 beats" in refused.stderr) == (1, True)
    assert "there is none of this name" in alpha.tunectl("drain", "--host", "delta").stderr
    assert beta.status()["state"] == "running"
