"""The alerts as Prometheus itself reads them: promtool of Debian's package ``prometheus``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).parents[2] / "packaging" / "monitoring" / "tuned.rules.yml"

ALPHA = 'instance="alpha:9464",job="tuned"'

#: Series that last for two hours, a value each minute, and the alerts that fire at the end.
STORIES = {
    "all is well": (
        {
            f"up{{{ALPHA}}}": "1x120",
            f'tuned_fleet_host_alive{{{ALPHA},host="beta"}}': "1x120",
            f"tuned_database_reachable{{{ALPHA}}}": "1x120",
            f"tuned_outbox_results{{{ALPHA}}}": "0 3 0 2x0 0x116",
            f'tuned_fleet_experiment_open{{{ALPHA},experiment="e"}}': "1x120",
            f'tuned_experiment_state{{{ALPHA},experiment="e",state="working"}}': "1x120",
            f'tuned_trials_ended_total{{{ALPHA},state="failed",cause="exit"}}': "0+1x120",
            f'tuned_trials_ended_total{{{ALPHA},state="complete"}}': "0+1x120",
            f"tuned_state_free_bytes{{{ALPHA}}}": "5e11x120",
            f"tuned_state_size_bytes{{{ALPHA}}}": "1e12x120",
        },
        set(),
    ),
    "the daemon is down": ({f"up{{{ALPHA}}}": "0x120"}, {"TunedDown"}),
    "another job is down": ({'up{instance="a",job="node"}': "0x120"}, set()),
    "two hosts see a dead one": (
        {
            f'tuned_fleet_host_alive{{{ALPHA},host="gamma"}}': "0x120",
            'tuned_fleet_host_alive{instance="beta:9464",job="tuned",host="gamma"}': "0x120",
        },
        {"TunedHostSilent"},
    ),
    "the database is away": (
        {f"tuned_database_reachable{{{ALPHA}}}": "0x120", f"tuned_outbox_results{{{ALPHA}}}": "4x120"},
        {"TunedDatabaseAway", "TunedResultsWaiting"},
    ),
    "an experiment is paused, and rests": (
        {
            f'tuned_fleet_experiment_open{{{ALPHA},experiment="e"}}': "0x120",
            f'tuned_experiment_state{{{ALPHA},experiment="f",state="resting"}}': "1x120",
        },
        {"TunedExperimentPaused", "TunedExperimentStopped"},
    ),
    "every trial fails": (
        {
            f'tuned_trials_ended_total{{{ALPHA},state="failed",cause="exit"}}': "0+1x120",
            f'tuned_trials_ended_total{{{ALPHA},state="complete"}}': "7x120",
        },
        {"TunedTrialsFail"},
    ),
    "the disk is nearly full": (
        {f"tuned_state_free_bytes{{{ALPHA}}}": "1e10x120", f"tuned_state_size_bytes{{{ALPHA}}}": "1e12x120"},
        {"TunedDiskFull"},
    ),
}


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_alerts() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("story", STORIES)
def test_an_alert_fires_if_and_only_if_it_should(story: str, tmp_path: Path) -> None:
    series, firing = STORIES[story]
    alerts = {
        rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    }
    expected = [
        # The number of alerts is the promise: their labels are as the query gives them.
        {"expr": f'count(ALERTS{{alertname="{each}",alertstate="firing"}})', "eval_time": "2h",
         "exp_samples": [{"labels": "{}", "value": 1}] if each in firing else []}
        for each in sorted(alerts)
    ]  # fmt: skip
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = [{"interval": "1m", "input_series": given, "promql_expr_test": expected}]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", file)
