"""How a study stands, for an objective that asks."""

from __future__ import annotations

from tests.factories import join, make_experiment, plain_optuna
from tuned.storage.database import Database
from tuned.storage.queries.facts import study_facts


def test_an_objective_learns_the_best_trial_and_the_studys_attributes(database: Database) -> None:
    member = join(database, make_experiment())
    with plain_optuna(database) as study:
        study.set_user_attr("team", "a")
    found = study_facts(database, member.status.study_id)
    assert (found["user_attrs"], found["best"]) == ({"team": "a"}, [])
    member.evaluate(5, 0.5)
    member.tell(member.take(3), 0.25, user_attrs={"epochs": "12"})
    member.tell(member.take(4), 0.125, is_pruned=True)
    [best] = study_facts(database, member.status.study_id)["best"]
    assert (best["number"], best["values"], best["params"]) == (1, [0.25], {"x": 3})
    assert best["user_attrs"] == {"HOST": {"host": "h1"}, "epochs": 12}


def test_an_objective_learns_only_of_feasible_trials(database: Database) -> None:
    member = join(database, make_experiment())
    member.tell(member.take(3), 0.25, constraints={"latency": 0.5})
    assert study_facts(database, member.status.study_id)["best"] == []
    member.tell(member.take(4), 0.5, constraints={"latency": -0.5})
    [best] = study_facts(database, member.status.study_id)["best"]
    assert (best["number"], best["constraints"]) == (1, {"latency": -0.5})


def test_an_objective_of_several_learns_the_front(database: Database) -> None:
    member = join(database, make_experiment('directions = ["minimize", "minimize"]'))
    for x, values in enumerate([(1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]):
        member.evaluate(x, *values)
    found = study_facts(database, member.status.study_id)["best"]
    assert [each["number"] for each in found] == [0, 1]
