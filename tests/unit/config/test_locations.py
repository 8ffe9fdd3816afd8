"""pydantic's error locations, as keys of a file."""

from __future__ import annotations

import pytest

from tuned.config.locations import locate
from tuned.experiment.file import File, Metric, Objective
from tuned.experiment.parameters import FloatTable
from tuned.experiment.samplers import CHOICE, SAMPLERS, Tpe


@pytest.mark.parametrize(
    ("location", "parts", "table"),
    [
        (("name",), ("name",), File),
        (("objective", "command", 1), ("objective", "command", 1), None),
        (("objective", "env", "A-B", "[key]"), ("objective", "env", "A-B"), None),
        (("objective", "metric", "pattern"), ("objective", "metric", "pattern"), Metric),
        (("objective", "fork"), ("objective", "fork"), Objective),
        (("space", "lr", "float", "low"), ("space", "lr", "low"), FloatTable),
        (("space", "float", "float", "float"), ("space", "float", "float"), FloatTable),
        (("sampler", "tpe", "tpe"), ("sampler", "tpe"), Tpe),
    ],
)
def test_a_location_is_a_key_without_the_tags_of_unions(
    location: tuple[str | int, ...], parts: tuple[str | int, ...], table: type[object] | None
) -> None:
    place = locate(File, location)
    assert place.parts == parts
    assert place.table is table


def test_a_table_that_is_chosen_by_a_key_says_which_there_are() -> None:
    place = locate(File, ("sampler",))
    assert place.choice is CHOICE
    assert place.tags == tuple(SAMPLERS)
    assert locate(File, ("space", "lr")).tags == ("int", "float", "categorical")
    assert locate(File, ("budget",)).choice is None


@pytest.mark.parametrize(
    ("raw", "chosen"), [({}, "tpe"), ({"name": "gp"}, "gp"), ({"name": 3}, None), (3, None)]
)
def test_a_choice_is_made_by_the_key_or_its_default(raw: object, chosen: str | None) -> None:
    assert CHOICE.of(raw) == chosen
    assert CHOICE.of(Tpe()) == "tpe"
