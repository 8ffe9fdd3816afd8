"""The tables whose keys are Optuna's keywords."""

from __future__ import annotations

from tuned.experiment.pruners import Median
from tuned.experiment.samplers import Tpe


def test_options_are_the_keywords_that_were_given_and_none_of_ours() -> None:
    assert Tpe(seed=1, group=True, constant_liar=False).options == {"constant_liar": False, "group": True}
    assert Median(name="median", objective=0, interval_steps=2).options == {"interval_steps": 2}


def test_an_unknown_keyword_is_told_with_the_thing_that_does_not_have_it() -> None:
    assert Tpe.said_of_unknown("a") == "an unknown keyword of the sampler tpe"
    assert Tpe.said_of_unknown("gamma") == "a keyword that takes a Python object"
    assert Median.said_of_unknown("a") == "an unknown keyword of the pruner median"


def test_the_words_for_a_keyword_are_its_type_and_bounds() -> None:
    assert Median.expected_at("interval_steps") == "an integer of at least 1"
    assert Median.expected_at("name") is Median.expected_at("a") is None
