"""Shapes of the protocol, made of the objects of this host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from tuned.daemon import views
from tuned.experiment.resources import Resources

if TYPE_CHECKING:
    from tuned.search.search import Search


def test_limits_that_are_not_set_are_none() -> None:
    assert set(views.resources(Resources()).values()) == {None}
    assert views.resources(Resources(memory=2**20, gpus=0.5))["gpus"] == 0.5


def test_a_slot_without_a_trial_is_idle() -> None:
    assert views.slot(3, None, None) == {"slot": 3, "running": None}


def test_a_host_says_on_what_it_does_not_work_within_bounds() -> None:
    def search(why: str) -> Search:
        return cast("Search", SimpleNamespace(name="minima", why_idle=why))

    said = views.resting([search(""), search("10 crashes"), *[search("x" * 500)] * 20])
    assert said[0] == "minima: 10 crashes"
    assert (len(said), max(map(len, said))) == (10, 200)
