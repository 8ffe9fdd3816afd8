"""The constraints of trials, in Optuna's new form and its old one."""

from __future__ import annotations

from tests.integration.storage.queries.worlds import World, trial_of
from tuned.storage.trials.constraints import constraints_of, infeasible, nearest_ids


def test_constraints_are_those_that_optuna_says(world: World) -> None:
    search = world.search()
    search.evaluate(1, 0.5, constraints={"b": 2.0, "a": float("-inf"), "c:d": 0.0})
    with world.optuna() as study:
        study.add_trial(trial_of(2, 0.5, system_attrs={"constraints": [1.0, -1.0], "constraints:x": 0.5}))
        study.add_trial(trial_of(3, 0.5))
        expected = {trial._trial_id: trial.constraints for trial in study.trials}
    with world.database.reading() as connection:
        found = constraints_of(connection, list(expected))
        assert infeasible(connection, list(expected)) == set(list(expected)[:2])
        assert nearest_ids(connection, [search.study_id]) == {search.study_id: list(expected)[1]}
    assert [found.get(trial, {}) for trial in expected] == list(expected.values())
    assert list(found[next(iter(expected))]) == ["a", "b", "c:d"]
