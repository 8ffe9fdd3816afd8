"""A file beside an experiment that is there."""

from __future__ import annotations

from tests.unit.experiment.sources import MINIMAL
from tuned.experiment.experiment import parse
from tuned.experiment.likeness import defines, explain, name_in

ACTIVE = {"exp": parse(MINIMAL.encode(), "exp.toml")}


def test_all_differences_are_told_the_local_ones_too() -> None:
    other = MINIMAL.replace("[objective]", '[budget]\ntrials = 3\n[objective]\nworkdir = "/b"')
    text = explain(ACTIVE, "exp", other.encode())
    assert "budget.trials: 3 here, not set in the database; objective.workdir: " in text
    assert text.endswith("tunectl submit --replace FILE")


def test_what_means_the_same_and_what_nobody_knows_has_no_difference() -> None:
    assert explain(ACTIVE, "exp", b"# A remark.\n" + MINIMAL.encode()) == ""
    assert explain({}, "exp", MINIMAL.encode()) == ""


def test_what_is_wrong_with_a_file_is_told_instead() -> None:
    assert "exp.toml" in explain(ACTIVE, "exp", b"odd = 1")


def test_a_file_defines_what_it_differs_from_only_in_what_may_be_replaced() -> None:
    definition = ACTIVE["exp"].definition()
    raised = MINIMAL + "[budget]\ntrials = 3\n"
    assert defines(raised.encode(), "exp.toml", definition)
    assert not defines(raised.encode(), "other.toml", definition)
    assert not defines(b"direction = 'maximize'\n" + MINIMAL.encode(), "exp.toml", definition)
    assert not defines(b"odd = 1", "exp.toml", definition)
    assert not defines(MINIMAL.encode(), "exp.toml", "no JSON")


def test_a_definition_that_cannot_be_read_has_no_name() -> None:
    assert name_in(ACTIVE["exp"].definition()) == "exp"
    assert [name_in(odd) for odd in ("{oops", "{}", "[]", "1", "[" * 100_000)] == [None] * 5


def test_a_file_that_overrides_another_hosts_may_differ_in_local_keys_alone() -> None:
    local = MINIMAL.replace("[objective]", 'parallel = 2\n[objective]\nworkdir = "/b"')
    assert explain(ACTIVE, "exp", local.encode(), is_override=True) == ""
    text = explain(ACTIVE, "exp", f"{local}\n[budget]\ntrials = 3\n".encode(), is_override=True)
    assert text.startswith("cannot run study exp: it exists with another definition: budget.trials: 3 here")
    assert "parallel" not in text
