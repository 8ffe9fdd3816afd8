"""Events reach each reader once and in order, or are counted as lost."""

from __future__ import annotations

import asyncio

from tuned.events import Events, Subscription


async def read(subscription: Subscription) -> list[str]:
    async with asyncio.timeout(20):
        return [event.get("note", event["event"]) async for event in subscription]


def publish(events: Events, *notes: str) -> None:
    for note in notes:
        events.publish("experiment-state", experiment="minima", note=note)


async def test_each_reader_gets_every_event_since_it_subscribed() -> None:
    events = Events("alpha")
    publish(events, "before")
    with events.subscribe() as first:
        publish(events, "one")
        with events.subscribe() as second:
            publish(events, "two")
            events.close()
            assert (await read(first), await read(second)) == (["one", "two"], ["two"])


async def test_a_full_queue_keeps_the_oldest_and_counts_the_rest() -> None:
    events = Events("alpha", queue_length=2)
    with events.subscribe() as subscription:
        publish(events, "one", "two", "three", "four")
        events.close()
        found = [event async for event in subscription]
    assert [event["event"] for event in found] == ["experiment-state", "experiment-state", "lost"]
    assert (found[-1]["count"], found[-1]["host"]) == (2, "alpha")


async def test_a_reader_that_comes_after_the_end_ends_at_once() -> None:
    events = Events("alpha")
    events.close()
    with events.subscribe() as subscription:
        assert await read(subscription) == []


async def test_a_waiting_reader_is_woken_by_an_event_and_by_the_end() -> None:
    events = Events("alpha")
    with events.subscribe() as subscription:
        reading = asyncio.ensure_future(read(subscription))
        await asyncio.sleep(0)
        publish(events, "one")
        await asyncio.sleep(0)
        events.close()
        assert await reading == ["one"]


async def test_a_reader_that_has_left_gets_nothing_more() -> None:
    events = Events("alpha", queue_length=1)
    with events.subscribe() as subscription:
        pass
    publish(events, "one")
    subscription.close()
    assert await read(subscription) == []
