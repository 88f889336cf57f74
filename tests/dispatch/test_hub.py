"""The hub's news of deliveries: coalesced, bounded, and for their own domain only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dispatch.hub import MAX_UNREAD, DeliveryWatch, FellBehind, Hub, HubClosed
from tests.dispatch import rows

DEADLINE = 20


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub("memory://")
    await hub.open()
    yield hub
    await hub.close()


async def _changed(watch: DeliveryWatch, limit: int = 100) -> list[str]:
    async with asyncio.timeout(DEADLINE):
        return await watch.changed(limit)


async def test_a_watcher_is_told_what_changed_in_its_domain(hub: Hub) -> None:
    here, there = rows.content(domain_id="here"), rows.content(domain_id="there")
    mine, theirs = rows.delivery(here, rows.protocol()), rows.delivery(there, rows.protocol())

    with hub.watch_deliveries("here") as watch:
        await hub.publish_deliveries([theirs, mine])

        assert await _changed(watch) == [mine.delivery_id]


async def test_several_changes_of_one_delivery_are_one_and_the_first_to_change_comes_first() -> None:
    watch = DeliveryWatch()
    for delivery_id in ("a", "b", "a", "c"):
        watch.add([delivery_id])

    assert await _changed(watch, limit=2) == ["a", "b"]
    watch.add(["a"])
    assert await _changed(watch) == ["c", "a"]


async def test_whoever_leaves_too_much_unread_is_told_so_and_keeps_nothing() -> None:
    watch = DeliveryWatch()
    watch.add([str(number) for number in range(MAX_UNREAD)])
    watch.add(["0"])
    assert len(await _changed(watch, MAX_UNREAD)) == MAX_UNREAD

    watch.add([str(number) for number in range(MAX_UNREAD + 1)])
    with pytest.raises(FellBehind):
        await _changed(watch)
    watch.close()
    with pytest.raises(FellBehind):
        await _changed(watch)


async def test_who_has_left_holds_no_memory(hub: Hub) -> None:
    with hub.watch_deliveries("here") as left:
        pass
    with hub.watch_deliveries("here") as watch:
        await hub.publish_deliveries([rows.delivery(rows.content(domain_id="here"), rows.protocol())])
        await _changed(watch)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await left.changed(1)


async def test_watching_ends_with_the_hub() -> None:
    hub = Hub("memory://")
    await hub.open()
    with hub.watch_deliveries("here") as watch:
        waiting = asyncio.ensure_future(watch.changed(1))
        await hub.close()

        with pytest.raises(HubClosed):
            async with asyncio.timeout(DEADLINE):
                await waiting
