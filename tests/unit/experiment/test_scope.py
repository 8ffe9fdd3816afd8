"""Each key of the experiment file says whether it may be replaced, and on which hosts."""

from __future__ import annotations

import pytest

from tuned.experiment.differences import scope_of
from tuned.experiment.file import File, Objective
from tuned.experiment.scope import Scope

#: The one table whose keys differ in it.
OBJECTIVE = "objective"

SCOPES = {
    Scope.SEARCH: {
        "name",
        "direction",
        "directions",
        "space",
        "sampler",
        "dedup",
        "points",
        "forbid",
        "replicates",
    },
    Scope.FLEET: {
        "budget",
        "retry",
        "pruner",
        "fleet",
        "notify",
        "code",
        "command",
        "python",
        "timeout",
        "metric",
    },
    Scope.HOST: {"parallel", "resources", "path", "interpreter", "fork", "workdir", "env"},
}


@pytest.mark.parametrize("key", [*sorted(File.model_fields.keys() - {OBJECTIVE}), *Objective.model_fields])
def test_each_key_says_of_which_kind_it_is(key: str) -> None:
    dotted = f"objective.{key}" if key in Objective.model_fields else key
    assert key in SCOPES[scope_of(dotted)], "a new key must say its scope, and be listed here"


def test_no_key_is_listed_twice_or_unknown() -> None:
    listed = [key for keys in SCOPES.values() for key in keys]
    assert sorted(listed) == sorted(
        [*sorted(File.model_fields.keys() - {OBJECTIVE}), *Objective.model_fields]
    )


@pytest.mark.parametrize(
    ("key", "scope"),
    [
        ("space.lr.low", Scope.SEARCH),
        ("objective.metric.pattern", Scope.FLEET),
        ("objective.env.A", Scope.HOST),
    ],
)
def test_a_key_within_a_table_has_the_tables_scope(key: str, scope: Scope) -> None:
    assert scope_of(key) is scope


def test_a_rule_may_be_replaced_but_not_the_objective_that_it_looks_at() -> None:
    assert scope_of("pruner.name") is scope_of("pruner.interval_steps") is Scope.FLEET
    assert scope_of("pruner.objective") is Scope.SEARCH
