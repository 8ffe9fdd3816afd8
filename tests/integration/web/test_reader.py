"""The reader reads what has changed, and nothing else."""

from __future__ import annotations

from tests.factories import statements
from tests.integration.storage.queries.worlds import World, a_bit_of_everything
from tuned.web.reader import Reader


async def test_a_look_has_hosts_experiments_and_running_trials(world: World, reader: Reader) -> None:
    search = a_bit_of_everything(world)
    fleet = await reader.fleet()
    assert [host.name for host in fleet.hosts] == [search.claimant.host]
    assert [each.summary["name"] for each in fleet.experiments] == ["exp"]
    assert [(run["experiment"], run["number"], run["host"]) for run in fleet.running] == [("exp", 3, "h1")]


async def test_a_look_at_a_fleet_in_which_nothing_happened_reads_no_experiment(
    world: World, reader: Reader
) -> None:
    a_bit_of_everything(world)
    first = await reader.fleet()
    reader.forget_look()
    with statements(world.database) as found:
        assert await reader.fleet() == first
    assert not [each for each in found if "t_study.definition" in each]


async def test_only_an_experiment_that_changed_is_read_again(world: World, reader: Reader) -> None:
    one, other = world.search("one"), world.search("other")
    before = await reader.fleet()
    one.evaluate(1, 0.5)
    reader.forget_look()
    after = await reader.fleet()
    assert after.revision == before.revision + 1
    assert after.of("other") is before.of("other")
    assert [each["value"] for each in (after.of("one") or before.experiments[0]).course] == [0.5]
    assert other.study_id != one.study_id


async def test_a_page_that_did_not_change_is_not_read_again(world: World, reader: Reader) -> None:
    search = world.search()
    search.evaluate(1, 0.5)
    first = await reader.detail("exp")
    assert await reader.detail("exp") is first
    search.evaluate(2, 0.25)
    reader.forget_look()
    assert (await reader.detail("exp")).bests["best"][0]["values"] == [0.25]


async def test_a_story_is_read_by_experiment_and_number(world: World, reader: Reader) -> None:
    a_bit_of_everything(world)
    assert (await reader.story("exp", 0))["trial"]["values"] == [0.25]
