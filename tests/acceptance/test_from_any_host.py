"""Two daemons on one database: each answers for the other, and is told what to do by way of it."""

from __future__ import annotations

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import an_experiment


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
