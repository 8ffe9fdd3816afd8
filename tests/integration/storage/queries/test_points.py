"""Trials with values for charts, each read once."""

from __future__ import annotations

from tests.integration.storage.queries.worlds import World, a_bit_of_everything
from tuned.storage.queries.points import evaluated


def test_complete_trials_have_their_values_and_parameters(world: World) -> None:
    search = a_bit_of_everything(world)
    found = list(evaluated(world.database, search.study_id, ()).values())
    assert (found[0].number, found[0].values) == (0, (0.25,))
    assert found[0].params == {"size": 1, "rate": 0.6, "kind": True}
    assert found[0].distributions.keys() == found[0].params.keys()


def test_only_new_ones_are_read(world: World) -> None:
    search = a_bit_of_everything(world)
    known = evaluated(world.database, search.study_id, ())
    search.evaluate(9, 7.0)
    assert [each.values for each in evaluated(world.database, search.study_id, known).values()] == [(7.0,)]
