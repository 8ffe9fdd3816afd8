"""Trials as rows of a table, in pages, of any study in the database."""

from __future__ import annotations

import optuna
import pytest

from tests.factories import join, make_experiment, plain_optuna
from tuned.errors import NotFound
from tuned.storage.database import Database
from tuned.storage.queries.exports import export


def test_pages_follow_each_other_oldest_first(database: Database) -> None:
    member = join(database, make_experiment('direction = "maximize"'))
    for x in range(4):
        member.tell(member.take(x), float(x), user_attrs={"note": f'"{x}"'})
    member.take(4)
    first = export(database, "exp", after=-1, limit=3)
    rest = export(database, "exp", after=first["after"] or 0, limit=3)
    assert (first["directions"], first["after"], rest["after"]) == (["maximize"], 2, None)
    rows = [*first["trials"], *rest["trials"]]
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 4]
    assert (rows[3]["params"], rows[3]["values"], rows[4]["values"]) == ({"x": 3}, [3.0], None)
    assert rows[3]["user_attrs"] == {"HOST": '{"host": "h1"}', "note": '"3"'}
    assert (rows[4]["state"], rows[4]["ended"]) == ("RUNNING", None)


def test_a_study_of_another_program_is_exported_too(database: Database) -> None:
    with plain_optuna(database, name="theirs", directions=["minimize", "maximize"]) as study:
        study.enqueue_trial({"x": 0.5})
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=1)
        assert study.trials[0].state == optuna.trial.TrialState.COMPLETE
    page = export(database, "theirs", after=-1, limit=9)
    assert page["directions"] == ["minimize", "maximize"]
    assert [(row["params"], row["values"]) for row in page["trials"]] == [({"x": 0.5}, [0.5, 2.0])]


def test_a_study_that_is_not_there_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="cannot export exp: the database has no study of this name"):
        export(database, "exp", after=-1, limit=9)


def test_intermediate_values_come_if_they_are_asked_for_evenly_and_with_the_last(database: Database) -> None:
    member = join(database, make_experiment())
    member.tell(member.take(0), 0.5, intermediate={step: float(step) for step in range(250)})
    member.tell(member.take(1), 0.5, intermediate={7: 0.25})
    member.tell(member.take(2), 0.5)
    assert "reports" not in export(database, "exp", after=-1, limit=9)["trials"][0]
    many, one, none = export(database, "exp", after=-1, limit=9, has_reports=True)["trials"]
    assert [each["step"] for each in many["reports"]] == list(range(0, 250, 3))
    assert (one["reports"], none["reports"]) == ([{"step": 7, "value": 0.25}], [])


def test_each_range_of_a_parameter_comes_once(database: Database) -> None:
    with plain_optuna(database, name="theirs") as study:
        for high in (1, 1, 2):
            study.ask({"x": optuna.distributions.FloatDistribution(0, high)})
    page = export(database, "theirs", after=-1, limit=9)
    assert [each["name"] for each in page["distributions"]] == ["x", "x"]
    assert sum('"high": 1.0' in each["distribution"] for each in page["distributions"]) == 1
