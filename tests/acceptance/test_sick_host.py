"""A host on which each trial crashes, beside one on which all goes well."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment
from tests.waiting import until


@pytest.mark.parametrize("has_value", [True, False], ids=["after the first value", "before any value"])
def test_a_sick_host_hurts_only_itself(make: MakeDaemon, postgresql_url: str, has_value: bool) -> None:
    alpha = make("a", storage=postgresql_url, host="alpha", slots=1).start()
    beta = make("b", storage=postgresql_url, host="beta", slots=1)
    gate, first = alpha.home / "gate", "[ $TUNED_TRIAL = 0 ] || " if has_value else ""
    # All values but one come after the tenth crash.
    script = f"[ $TUNED_HOST = alpha ] || exit 3; {first}until [ -e {gate} ]; do sleep 0.05; done"
    alpha.drop(
        "sick", an_experiment(script, high=19, more='[sampler]\nname = "grid"\n[budget]\ntrials = 20\n')
    )
    alpha.until_joined()
    until(lambda: "sick" in alpha.tunectl("list").stdout, what="it to be opened", seconds=60)
    until(
        lambda: alpha.summary("sick")["counts"]["complete"] == has_value, what="the first value", seconds=60
    )
    alpha.until_running(1)
    beta.start().until_joined()
    until(lambda: beta.tunectl("list").stdout.count("sick"), what="it on the other host", seconds=60)
    until(lambda: beta.summary("sick")["is_paused_here"], what="its rest there", seconds=60)
    gate.touch()
    alpha.until_in("done", "sick", seconds=120)

    trials = alpha.trials("sick")
    complete = {each["params"]["x"] for each in trials if each["state"] == "COMPLETE"}
    causes = [each["failure"]["cause"] for each in trials if each["failure"] is not None]
    assert (len(complete), causes) == (20, ["host"] * 10)
    assert (alpha.summary("sick")["trials"], alpha.summary("sick")["visited"]) == (20, 20)
