"""Trials and their pages are what is in the database, and what Optuna itself says of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest

from tests.integration.storage.queries.worlds import (
    Searched,
    World,
    a_bit_of_everything,
    everything,
    trial_of,
)
from tuned.errors import NotFound
from tuned.storage.queries import experiments


def iso(time: dt.datetime | None) -> str | None:
    return None if time is None else time.astimezone(dt.UTC).isoformat(timespec="microseconds")


def test_trials_are_shown_as_optuna_reads_them(world: World) -> None:
    search = a_bit_of_everything(world)
    with world.optuna() as study:
        expected = [
            (t.number, t.state.name, t.params, t.values, iso(t.datetime_start), iso(t.datetime_complete))
            for t in reversed(study.trials)
        ]
    shown = [
        (t["number"], t["state"], t["params"], t["values"], t["started"], t["ended"])
        for t in everything(search)
    ]
    assert shown == expected


def test_a_duplicate_names_its_twin_and_where_that_was_evaluated(world: World) -> None:
    search = world.search(host="h1")
    search.evaluate(1, 0.5)
    other = world.search(host="h2")
    other.draw(1)
    view = experiments.trial(world.database, search.study_id, 1)
    assert (view["host"], view["duplicate_of"]) == ("h2", {"number": 0, "host": "h1"})
    assert experiments.trial(world.database, search.study_id, 0)["duplicate_of"] is None


def test_a_failed_trial_says_why_and_a_retried_one_how_often(world: World) -> None:
    search = a_bit_of_everything(world)
    views = {view["number"]: view for view in everything(search)}
    assert views[2]["failure"] == {"cause": "exit", "message": "x"}
    assert views[6]["failure"] == {"cause": "aborted", "message": "stopped before it ended"}
    assert (views[7]["failure"], views[7]["attempt"]) == (None, 3)
    assert views[0]["attempt"] == 1


def test_a_trial_has_its_constraints_however_it_ended(world: World) -> None:
    search = world.search()
    search.evaluate(1, 0.5, constraints={"latency": 0.5, "memory": -1.0})
    search.evaluate(2, constraints={"latency": 2.0})
    search.evaluate(3, 0.5)
    views = {view["number"]: view["constraints"] for view in everything(search)}
    assert views == {0: {"latency": 0.5, "memory": -1.0}, 1: {"latency": 2.0}, 2: {}}


def test_how_long_a_trial_took_is_known_once_it_ended(world: World) -> None:
    search = a_bit_of_everything(world)
    views = {view["number"]: view for view in everything(search)}
    assert views[3]["seconds"] is None
    assert 0 <= views[0]["seconds"] < 60


def test_attributes_of_plain_optuna_under_our_names_are_harmless(world: World) -> None:
    with world.optuna() as study:
        odd: Sequence[Any] = [7, "x", [1], {"a": 1}, None]
        for value in odd:
            attributes = dict.fromkeys(("HOST", "FAILURE", "RETRIED"), value)
            study.add_trial(trial_of(1, 0.5, user_attrs=attributes))
    search = world.search()
    assert [view["failure"] for view in everything(search)] == [None] * len(odd)
    assert [view["host"] for view in everything(search)] == [None] * len(odd)


def interleaved(world: World) -> list[Searched]:
    searches = [world.search(f"exp{n}", host=f"h{n}") for n in range(3)]
    for n in range(9):
        for search in searches[: 1 + n % 3]:
            search.evaluate(1 + n, *([float(n)] if n % 2 else []))
    return searches


def test_pages_give_every_trial_once_newest_first(world: World) -> None:
    for search in interleaved(world):
        seen: list[int] = []
        before = None
        while page := experiments.trials(world.database, search.study_id, state=None, before=before, limit=2):
            seen += [view["number"] for view in page]
            before = seen[-1]
        assert seen == [view["number"] for view in everything(search)]
        assert seen == list(range(len(seen)))[::-1]


def test_a_page_that_begins_above_the_newest_trial_begins_there(world: World) -> None:
    search = interleaved(world)[0]
    page = experiments.trials(world.database, search.study_id, state=None, before=2**31 - 1, limit=2)
    assert [view["number"] for view in page] == [8, 7]


def test_a_page_may_be_of_one_state_only(world: World) -> None:
    search = interleaved(world)[0]
    page = experiments.trials(world.database, search.study_id, state="FAIL", before=6, limit=2)
    assert [(view["number"], view["state"]) for view in page] == [(4, "FAIL"), (2, "FAIL")]


@pytest.mark.parametrize(("direction", "expected"), [("minimize", [7, 5, 3]), ("maximize", [1, 3, 5])])
def test_trials_may_be_listed_by_value_the_best_first(
    world: World, direction: str, expected: list[int]
) -> None:
    search = world.search(text=f'direction = "{direction}"')
    for n in range(9):
        search.evaluate(1 + n, *([-float(n)] if n % 2 else []))
    page = experiments.trials_by_value(world.database, search.study_id, state="COMPLETE", limit=3)
    assert [view["number"] for view in page] == expected
    assert experiments.trials_by_value(world.database, search.study_id, state="FAIL", limit=3) == []


def test_a_trial_is_found_by_its_number(world: World) -> None:
    for search in interleaved(world):
        for view in everything(search):
            assert experiments.trial(world.database, search.study_id, view["number"]) == view


def test_a_number_that_was_not_given_is_not_found(world: World) -> None:
    search = interleaved(world)[2]
    for number in (3, 2**31 - 1):
        with pytest.raises(NotFound, match=f"trial {number}"):
            experiments.trial(world.database, search.study_id, number)
