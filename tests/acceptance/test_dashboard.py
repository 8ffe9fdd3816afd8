"""``tuned-dashboard`` beside a real daemon, asked as a browser asks it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import optuna
import pytest
from optuna.visualization._contour import _get_contour_info
from optuna.visualization._edf import _get_edf_info
from optuna.visualization._intermediate_values import _get_intermediate_plot_info
from optuna.visualization._optimization_history import _get_optimization_history_info_list
from optuna.visualization._parallel_coordinate import _get_parallel_coordinate_info
from optuna.visualization._param_importances import _get_importances_info
from optuna.visualization._slice import _get_slice_plot_info
from optuna.visualization._timeline import _get_timeline_info

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment
from tests.dashboards import ask, serving, status
from tests.waiting import until
from tuned.web import main as dashboard

COMMAND = [sys.executable, "-c", f"from {dashboard.__name__} import main; main()"]

GRID = '[sampler]\nname = "grid"\n'


def status_of(address: str, method: str, headers: dict[str, str]) -> int:
    """Of a harmless request to read, or of one to change a study that there is not."""
    path = "/optuna/api/studies" if method == "GET" else "/optuna/api/studies/99999"
    return status(address, path, method, headers)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard on an empty database."""
    home = tmp_path_factory.mktemp("page")
    (home / "tuned.toml").write_text(f'storage = "sqlite:///{home}/tuned.db"\n')
    with serving(home / "tuned.toml", "--allow-changes") as address:
        yield address


OURS = [
    "127.0.0.1",
    "127.0.0.1:{port}",
    "localhost:{port}",
    "LOCALHOST",
    "127.0.0.2:1",
    "[::1]",
    "[::1]:9000",
]
FOREIGN = [
    "evil.example", "evil.example:{port}", "localhost.evil.example:{port}", "127.0.0.1.evil.example",
    "0.0.0.0", "127.1", "192.168.0.7:{port}", "[::2]:{port}", "[::1", "[127.0.0.1]", "::1",
    "localhost:{port}:80", "localhost:", "user@localhost", "localhost, evil.example", "",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_a_browser_of_this_host_may_read_and_change(page: str, host: str) -> None:
    named = host.format(port=urlsplit(page).port)
    assert status_of(page, "GET", {"Host": named}) == 200
    # There is no such study: the request came as far as the dashboard.
    headers = {"Host": named, "Origin": f"http://{named}", "Sec-Fetch-Site": "same-origin"}
    assert status_of(page, "DELETE", headers) != 403


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_is_not_this_hosts_is_not_answered(page: str, host: str) -> None:
    named = host.format(port=urlsplit(page).port)
    for method in ("GET", "DELETE"):
        assert status_of(page, method, {"Host": named, "Origin": f"http://{named}"}) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        # Another program's page on this host.
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_page_of_another_origin_changes_nothing(page: str, method: str, headers: dict[str, str]) -> None:
    port = urlsplit(page).port
    assert status_of(page, method, {name: text.format(port=port) for name, text in headers.items()}) == 403


def test_a_program_that_names_no_origin_may_change(page: str) -> None:
    made = ask(
        page, "/optuna/api/studies", "POST", content={"study_name": "made", "directions": ["minimize"]}
    )
    ask(page, f"/optuna/api/studies/{made['study_summary']['study_id']}", "DELETE")
    assert ask(page, "/optuna/api/studies")["study_summaries"] == []


def test_a_study_of_the_daemon_is_shown_and_can_be_deleted(make: MakeDaemon, database_url: str) -> None:
    daemon = make(storage=database_url).start()
    daemon.run("seen", an_experiment("echo {x}", high=3, more=GRID))
    with serving(daemon.config, "--allow-changes") as address:
        (study,) = ask(address, "/optuna/api/studies")["study_summaries"]
        assert study["study_name"] == "seen"
        shown = ask(address, f"/optuna/api/studies/{study['study_id']}")
        assert sorted(trial["values"] for trial in shown["trials"]) == [[0.0], [1.0], [2.0], [3.0]]
        assert {trial["state"] for trial in shown["trials"]} == {"Complete"}
        ask(address, f"/optuna/api/studies/{study['study_id']}", "DELETE")
        assert ask(address, "/optuna/api/studies")["study_summaries"] == []
    # The name is free again, as if there had never been such a study.
    (daemon.spool / "done" / "seen.toml").unlink()
    daemon.run("seen", an_experiment("echo {x}", high=1, more=GRID))
    assert {trial.value for trial in daemon.study("seen").trials} == {0.0, 1.0}


#: 12 points: 3 of a, and 9 of b, which has a momentum. The 4 with the largest x do not end by themselves.
FOREST = """
[objective]
command = ["sh", "-c", '''
  v="$1$(printf %s "$2" | cut -c2-)"
  echo "{{\\"step\\": 1, \\"value\\": $v}}"
  test $1 != 2 || sleep 600
  echo $v
''', "sh", "{x}", "{momentum}"]
[space.kind]
type = "categorical"
choices = ["a", "b"]
[space.x]
type = "int"
low = 0
high = 2
[space.momentum]
type = "categorical"
choices = [0.1, 0.5, 0.9]
when = { kind = "b" }
[sampler]
name = "grid"
[pruner]
name = "threshold"
upper = 1.95
"""


def test_optunas_plots_and_the_dashboard_show_conditions_and_pruned_trials(
    make: MakeDaemon, database_url: str
) -> None:
    daemon = make(storage=database_url, slots=4).start()
    counts = daemon.run("forest", FOREST)["counts"]
    assert (counts["complete"], counts["pruned"]) == (8, 4)
    with serving(daemon.config, "--allow-changes") as address:
        (number,) = (each["study_id"] for each in ask(address, "/optuna/api/studies")["study_summaries"])
        shown = ask(address, f"/optuna/api/studies/{number}")
        assert Counter(trial["state"] for trial in shown["trials"]) == {"Complete": 8, "Pruned": 4}
        assert {each["name"] for each in shown["intersection_search_space"]} == {"kind", "x"}
        assert {each["name"] for each in shown["union_search_space"]} == {"kind", "x", "momentum"}
        assert all(len(trial["intermediate_values"]) == 1 for trial in shown["trials"])
        (found,) = ask(address, f"/optuna/api/studies/{number}/param_importances")["param_importances"]
        assert {each["name"] for each in found} == {"kind", "x", "momentum"}
        with urlopen(f"{address}/optuna/csv/{number}", timeout=60) as answer:
            assert len(answer.read().splitlines()) == 13
    assert_plotted(daemon.study("forest"))


def assert_plotted(study: optuna.Study) -> None:
    """Asks for all that Optuna's plots draw."""
    assert len(_get_intermediate_plot_info(study).trial_infos) == 12
    assert Counter(bar.state.name for bar in _get_timeline_info(study).bars) == {"COMPLETE": 8, "PRUNED": 4}
    (history,) = _get_optimization_history_info_list(study, None, "value", error_bar=False)
    assert len(history.trial_numbers) == 12
    assert len(_get_edf_info(study).lines) == 1
    assert len(_get_parallel_coordinate_info(study).dims_params) == 3
    assert len(_get_slice_plot_info(study, None, None, "value").subplots) == 3
    assert len(_get_contour_info(study).sorted_params) == 3
    assert set(_get_importances_info(study, None, None, None, "value").param_names) == {
        "kind",
        "x",
        "momentum",
    }


def test_a_study_that_is_deleted_while_it_runs_ends_here_and_hurts_nothing_else(
    make: MakeDaemon, database_url: str
) -> None:
    daemon = make(storage=database_url).start()
    daemon.drop("gone", an_experiment("sleep 1000", high=9, more=GRID))
    daemon.until_running(2)
    with serving(daemon.config, "--allow-changes") as address:
        (study,) = ask(address, "/optuna/api/studies")["study_summaries"]
        ask(address, f"/optuna/api/studies/{study['study_id']}", "DELETE")
    until(lambda: daemon.running() == 0, what="its trials to end")
    daemon.run("next", an_experiment("echo {x}", high=1, more=GRID))


def test_a_study_that_is_renamed_while_it_runs_ends_here_and_hurts_nothing_else(
    make: MakeDaemon, database_url: str
) -> None:
    """To rename, optuna-dashboard copies a study and deletes the old one."""
    daemon = make(storage=database_url).start()
    daemon.drop("before", an_experiment("sleep 1000", high=9, more=GRID))
    daemon.until_running(2)
    with serving(daemon.config, "--allow-changes") as address:
        (study,) = ask(address, "/optuna/api/studies")["study_summaries"]
        rename = f"/optuna/api/studies/{study['study_id']}/rename"
        assert ask(address, rename, "POST", content={"study_name": "after"})["study_name"] == "after"
    until(lambda: daemon.running() == 0, what="its trials to end")
    daemon.until_in("cancelled", "before")
    daemon.run("next", an_experiment("echo {x}", high=1, more=GRID))
    assert {state.name for state in (trial.state for trial in daemon.study("after").trials)} == {"RUNNING"}


def test_a_running_trial_that_is_ended_there_stays_as_it_was_ended(
    make: MakeDaemon, database_url: str
) -> None:
    daemon = make(storage=database_url).start()
    gate = daemon.home / "gate"
    daemon.drop("told", an_experiment(f"until [ -e {gate} ]; do sleep 0.05; done", high=1, more=GRID))
    daemon.until_running(2)
    with serving(daemon.config, "--allow-changes") as address:
        (study,) = ask(address, "/optuna/api/studies")["study_summaries"]
        first, second = ask(address, f"/optuna/api/studies/{study['study_id']}")["trials"]
        value = {"state": "Complete", "values": [0.5]}
        ask(address, f"/optuna/api/trials/{first['trial_id']}/tell", "POST", content=value)
        ask(address, f"/optuna/api/trials/{second['trial_id']}/tell", "POST", content={"state": "Fail"})
    gate.touch()
    daemon.until_in("done", "told")
    told = daemon.study("told").trials
    assert [(trial.state.name, trial.value) for trial in told[:2]] == [("COMPLETE", 0.5), ("FAIL", None)]
    # The value that came too late for a failed trial is one of its own.
    (late,) = told[2:]
    assert (late.state.name, late.params, late.value) == ("COMPLETE", told[1].params, told[1].params["x"])


def test_settings_that_cannot_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "tuned.toml"
    config.write_text("storage = 5\n")
    done = subprocess.run(
        [*COMMAND, "--config", config], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"tuned-dashboard: {config}: storage: found 5, expected ")
    assert "Traceback" not in done.stderr


def test_no_other_page_may_show_the_dashboard_in_a_frame(page: str) -> None:
    with urlopen(f"{page}/optuna/dashboard", timeout=60) as answer:
        assert answer.headers["X-Frame-Options"] == "DENY"
