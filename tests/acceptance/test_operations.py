"""Two daemons on one database, as an operator sees and mends them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment, first
from tests.waiting import until


def ask(daemon: Daemon, *arguments: str) -> Any:
    answer = daemon.tunectl(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_two_hosts_as_an_operator_sees_them(make: MakeDaemon, postgresql_url: str) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha").start()
    beta = make("b", storage=postgresql_url, host="beta").start()
    gate = alpha.home / "gate"
    for daemon in (alpha, beta):
        daemon.drop("fleet", an_experiment(f"until [ -e {gate} ]; do sleep 0.05; done", high=7))
    alpha.until_running(2)
    beta.until_running(2)

    seen = until(lambda: all_seen(alpha), what="the beats of both")
    assert {host["name"]: (host["state"], host["running"]) for host in seen} == {
        "alpha": ("running", 2),
        "beta": ("running", 2),
    }
    assert len({(host["version"], host["optuna_version"]) for host in seen}) == 1

    gate.touch()
    alpha.until_in("done", "fleet")
    by_host = {each["host"]: each["counts"]["complete"] for each in ask(alpha, "show", "fleet")["hosts"]}
    assert set(by_host) == {"alpha", "beta"}
    assert min(by_host.values()) >= 2

    assert beta.abort() == 0
    assert [line["event"] for line in alpha.logged()].count("experiment open") == 1
    states = {host["name"]: host["state"] for host in ask(alpha, "hosts")["hosts"]}
    assert states == {"alpha": "running", "beta": "stopped"}


def all_seen(daemon: Daemon) -> list[Any]:
    """All hosts, once this one has looked at the beats of two."""
    found: list[Any] = ask(daemon, "hosts")["hosts"]
    return found if [each["beat_age_seconds"] is None for each in found] == [False, False] else []


def test_failed_points_of_a_done_experiment_are_evaluated_again_by_the_fleet(
    make: MakeDaemon, postgresql_url: str
) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha", slots=1).start()
    beta = make("b", storage=postgresql_url, host="beta", slots=1).start()
    mended = alpha.home / "mended"
    # Once it is mended, each host waits until the other one has begun.
    both = f'touch {alpha.home}/$TUNED_HOST; until [ $(ls {alpha.home} | grep -c "^alpha$\\|^beta$") = 2 ]'
    script = f"[ -e {mended} ] || exit 7; {both}; do sleep 0.05; done"
    for daemon in (alpha, beta):
        daemon.drop("mended", an_experiment(script, high=3))
    for daemon in (alpha, beta):
        daemon.until_in("done", "mended")
    assert alpha.summary("mended")["counts"]["failed"] == 4
    mended.touch()

    answer = alpha.tunectl("retry", "mended", "--failed", "--cause", "exit")
    assert answer.stdout == "4 failed points of mended free again; it is open\n", answer.stderr
    for daemon in (alpha, beta):
        daemon.until_in("done", "mended")
    complete = [trial for trial in alpha.trials("mended") if trial["state"] == "COMPLETE"]
    assert {trial["host"] for trial in complete} == {"alpha", "beta"}
    story = beta.tunectl("explain", "mended", str(complete[0]["number"])).stdout
    assert "taken up again" in story


def test_another_budget_reaches_the_fleet(make: MakeDaemon, postgresql_url: str) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha", slots=1).start()
    beta = make("b", storage=postgresql_url, host="beta", slots=1).start()

    def grid(trials: int, high: int = 99) -> str:
        return an_experiment(high=high, more=f'[sampler]\nname = "grid"\n[budget]\ntrials = {trials}\n')

    for daemon in (alpha, beta):
        daemon.drop("budgeted", grid(4))
    for daemon in (alpha, beta):
        daemon.until_in("done", "budgeted")
    file = alpha.home / "budgeted.toml"

    file.write_text(grid(9, high=50))
    refused = alpha.tunectl("submit", "--replace", str(file))
    assert (refused.returncode, "space.x.high: 50 here, 99" in refused.stderr) == (1, True)

    file.write_text(grid(9))
    stream = beta.watching()
    replaced = alpha.tunectl("submit", "--replace", str(file))
    assert (replaced.returncode, replaced.stderr) == (0, "")
    first(stream, "experiment-taken", experiment="budgeted")
    for daemon in (alpha, beta):
        daemon.until_in("done", "budgeted")
    assert beta.summary("budgeted")["trials"] == 9


def test_a_running_experiment_gets_another_budget_and_a_plain_drop_of_one_is_refused(
    make: MakeDaemon, postgresql_url: str
) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha", slots=1).start()
    beta = make("b", storage=postgresql_url, host="beta", slots=1).start()
    gate = alpha.home / "gate"

    def gated(trials: int) -> str:
        wait = f"until [ -e {gate} ]; do sleep 0.05; done"
        return an_experiment(wait, high=99, more=f"[budget]\ntrials = {trials}\n")

    for daemon in (alpha, beta):
        daemon.drop("raised", gated(50))
        daemon.until_running(1)
    stream = beta.watching()
    beta.drop("raised", gated(5))
    refusal = first(stream, "experiment-rejected", file="raised.toml")["message"]
    assert "budget.trials: 5 here, 50 in the database; " in refusal
    assert (beta.spool / "rejected" / "raised.toml.error").read_text() == f"{refusal}\n"

    file = alpha.home / "raised.toml"
    file.write_text(gated(5))
    assert "of 5 trials" in alpha.tunectl("submit", "--replace", str(file)).stdout
    until(lambda: beta.summary("raised")["trials_limit"] == 5, what="the budget on the other host")
    gate.touch()
    for daemon in (alpha, beta):
        daemon.until_in("done", "raised")
    assert beta.summary("raised")["trials"] == 5


def test_doctor_finds_what_is_wrong_and_mends_what_is_safe(make: MakeDaemon) -> None:
    daemon = make().start()
    until(lambda: "not-joined" not in daemon.tunectl("doctor", "--json").stdout, what="the host to join")
    (daemon.spool / "done").chmod(0o777)
    answer = daemon.tunectl("doctor", "--json")

    # These daemons take each other for dead sooner than is wise.
    # Findings about the machine that runs this test are left out.
    def codes(told: str) -> list[str]:
        return [each["code"] for each in json.loads(told)["findings"] if each["code"] != "no-control-groups"]

    assert codes(answer.stdout) == ["setting", "permissions"]
    fixed = daemon.tunectl("doctor", "--fix", "--json")
    assert codes(fixed.stdout) == ["setting"]
    assert (answer.returncode, fixed.returncode) == (1, 1)
    assert (daemon.spool / "done").stat().st_mode & 0o022 == 0


def test_outputs_are_found_by_a_name_that_the_study_got_after_its_end(shared: Daemon) -> None:
    shared.run("named", an_experiment("echo said", high=0))
    engine = create_engine(shared.storage)
    with engine.begin() as connection:
        connection.execute(text("UPDATE studies SET study_name = 'theirs' WHERE study_name = 'named'"))
    engine.dispose()
    assert "said" in shared.tunectl("logs", "theirs").stdout
    assert ask(shared, "explain", "theirs", "0")["output"]
    outputs = Path(ask(shared, "show", "theirs")["outputs"])
    assert outputs.name.startswith("named-")
    assert shared.tunectl("delete", "--yes", "theirs").returncode == 0
    assert not outputs.exists()
