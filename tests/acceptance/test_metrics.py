"""The daemon's numbers, as Prometheus scrapes them."""

from __future__ import annotations

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment
from tests.integration.control.test_exporter import free_port
from tests.waiting import until

GRID = '[sampler]\nname = "grid"\n'


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, in the order of their names."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {(each.name, *each.labels.values()): each.value for f in families for each in f.samples}


def test_trials_are_counted_as_they_ended_and_a_fleet_is_told_by_each_host(
    make: MakeDaemon, postgresql_url: str
) -> None:
    hosts, ports = [], (free_port(), free_port())
    for name, port in zip(("alpha", "beta"), ports, strict=True):
        host = make(name, storage=postgresql_url, host=name)
        drop_ins = host.config.with_name(f"{host.config.name}.d")
        drop_ins.mkdir()
        (drop_ins / "metrics.toml").write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
        hosts.append(host.start())
    alpha, beta = hosts
    script = "[ $TUNED_PARAM_X = 0 ] && exit 7; [ $TUNED_PARAM_X = 9 ] && sleep 1000"
    alpha.drop("few", an_experiment(script, high=9, more=f'{GRID}[fleet]\nhosts = "here"\n'))
    # The one that fails may be the last one.
    ended = {
        ("tuned_fleet_trials", "few", "complete"): 8,
        ("tuned_trials_ended_total", "", "complete"): 8,
        ("tuned_trials_ended_total", "exit", "failed"): 1,
        ("tuned_trial_seconds_count", "complete"): 8,
    }
    until(
        lambda: ended.items() <= scraped(ports[0]).items(),
        what=lambda: f"{ended} in {scraped(ports[0])}; log:\n{alpha.log_tail()}",
        seconds=60,
    )
    found = scraped(ports[0])
    assert ("tuned_experiment_state", "few", "working") in found or (
        "tuned_experiment_state", "few", "idle",
    ) in found  # fmt: skip
    alpha.tunectl("cancel", "few")
    until(lambda: scraped(ports[0])["tuned_trials_ended_total", "aborted", "failed"] == 1, what="the abort")
    until(lambda: scraped(ports[1]).get(("tuned_fleet_host_alive", "alpha")) == 1, what="the other host")
    assert scraped(ports[1])["tuned_trials_ended_total", "", "complete"] == 0
    alpha.kill()
    until(lambda: scraped(ports[1])["tuned_fleet_host_alive", "alpha"] == 0, what="its death")
    forgotten = beta.tunectl("hosts", "--forget", "alpha")
    assert (forgotten.returncode, "alpha" in forgotten.stdout) == (0, False), forgotten.stderr
    until(lambda: ("tuned_fleet_host_alive", "alpha") not in scraped(ports[1]), what="it to be forgotten")


def test_a_port_in_use_is_told_and_the_daemon_goes_on(make: MakeDaemon) -> None:
    first = make()
    port = free_port()
    first.config.write_text(first.config.read_text() + f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    first.start()
    until(lambda: scraped(port)["tuned_slots",] == 2, what="the metrics")
    second = make("b")
    second.config.write_text(second.config.read_text() + f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    second.start()
    told = f"cannot serve metrics on 127.0.0.1:{port}: "
    until(lambda: [each for each in second.status()["warnings"] if each.startswith(told)], what="the warning")
    second.run("runs", an_experiment(high=1, more=GRID))
