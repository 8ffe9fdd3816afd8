"""Every page fits its canvas, whatever is in it."""

from __future__ import annotations

import pytest
import wcwidth

from tests.small_host import a_host, a_status, a_story, a_summary, a_trial
from tests.unit.tunectl.pages.made import NOW, PLAIN, an_experiment
from tuned.protocol.trials import BestView
from tuned.tunectl.pages import experiments, fleet, trials
from tuned.tunectl.pages import host as host_module


@pytest.mark.parametrize("long", ["a-name-of-one-hundred-characters-" * 3 + "x", "日本e\u0301 " * 20])
def test_every_page_fits_eighty_columns_with_the_longest_of_everything(long: str) -> None:
    best = BestView(
        number=2**31,
        values=[-1.23456e-300] * 5,
        params=dict.fromkeys(long, 0.1),
        host=long,
        constraints={long: 1.23456e-300, f"\x1b[31m{long}": -1.0},
    )
    counts = dict.fromkeys(a_summary()["counts"], 10**6)
    most = {"trials": 10**6 - 1, "trials_limit": 10**6, "space_size": 2**62, "visited": 2**61}
    summary = a_summary(long, state="cancelled", note=long * 3, best=best, counts=counts, **most)
    failure = {"cause": "no-value", "message": f"\x1b[31m{long}\n{long}"}
    trial = a_trial(2**31, host=long, params=best["params"], values=best["values"], failure=failure)
    infeasible = a_trial(2**31, params=best["params"], constraints=best["constraints"])
    run = {"experiment": long, "trial": 2**31, "attempt": 100, "seconds": 1e9, "gpus": [long] * 9}
    run |= {"replicate": 100, "replicates": 100, "is_adopted": True}
    run["report"] = {"step": 2**31, "value": -1.2345678e-300}
    gpus = [{"id": long, "used": 1 / 3, "is_left": True}] * 9
    slot = {"slot": 999, "running": run}
    status = a_status(host="h" * 20, experiments=[summary], slots=[slot], warnings=[long * 3], gpus=gpus)
    shown = an_experiment()
    shown["summary"], shown["failures"] = summary, [trial]
    shown["file"], shown["env"] = f"/{long}", {"TOKEN": long}
    shown["hosts"] = [{"host": long, "counts": summary["counts"]}]
    host = a_host(long, state="dead", running=10**6, beat_age_seconds=1e9, version="10.10.10.dev1")
    lines = [
        *host_module.status(PLAIN, status, NOW),
        *experiments.experiment(PLAIN, shown, NOW)[1:],
        *fleet.hosts(PLAIN, [host]),
        *trials.story(PLAIN, long, a_story(trial))[1:],
        *trials.trials(PLAIN, [trial, infeasible]),
        *trials.story(PLAIN, "minima", a_story(infeasible)),
        *experiments.experiment(PLAIN, {**shown, "summary": {**summary, "best": None, "nearest": best}}, NOW)[
            1:
        ],
        *trials.best(PLAIN, {"best": [best] * 2, "nearest": None}),
        *trials.best(PLAIN, {"best": [], "nearest": best})[2:],
    ]
    assert [line for line in lines if wcwidth.width(line) > 80 or not line.isprintable()] == []
