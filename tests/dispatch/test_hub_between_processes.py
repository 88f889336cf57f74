"""Hubs of several processes over a real Valkey: each hears what the others say, or that something was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from dispatch.hub import DeliveryWatch, FellBehind, Hub, Watch
from storage.inboxes import Owner
from storage.models import InboxKind
from tests.client import eventually
from tests.dispatch import rows
from tests.valkey import Road, Valkey

DEADLINE = 20
ALICE = Owner("here", InboxKind.USER, "alice")
BOB = Owner("here", InboxKind.USER, "bob")


class Checks:
    """How often inboxes were asked to be looked at anew."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@asynccontextmanager
async def running(url: str, channel: str, checks: Checks | None = None) -> AsyncIterator[Hub]:
    hub = Hub(url, channel=channel, check_heads=checks or Checks())
    await hub.open()
    yield hub
    await hub.close()


@pytest.fixture
async def hubs(valkey: Valkey, tmp_path: Path) -> AsyncIterator[tuple[Hub, Hub]]:
    async with running(valkey.url, str(tmp_path)) as one, running(valkey.url, str(tmp_path)) as other:
        yield one, other


async def _beyond(watch: Watch, seq: int) -> None:
    async with asyncio.timeout(DEADLINE):
        await watch.beyond(seq)


async def _changed(watch: DeliveryWatch) -> list[str]:
    async with asyncio.timeout(DEADLINE):
        return await watch.changed(100)


async def _until(hub: Hub, is_well: bool) -> str:
    async def health() -> str:
        return hub.health

    return await eventually(health, lambda said: (said == "ok") == is_well)


async def test_an_inbox_that_moves_in_one_process_is_news_in_all(hubs: tuple[Hub, Hub]) -> None:
    one, other = hubs
    with one.watch(ALICE) as here, other.watch(ALICE) as there:
        await one.publish({ALICE: 7, BOB: 1})

        await _beyond(here, 6)
        await _beyond(there, 6)


async def test_a_delivery_that_changes_in_one_process_is_news_in_all(hubs: tuple[Hub, Hub]) -> None:
    one, other = hubs
    row = rows.delivery(rows.content(domain_id="here"), rows.protocol())
    with one.watch_deliveries("here") as here, other.watch_deliveries("here") as there:
        await one.publish_deliveries([row])  # although nobody watched there, for all that it knows

        assert await _changed(here) == await _changed(there) == [row.delivery_id]


async def test_what_another_version_says_is_passed_over(hubs: tuple[Hub, Hub], valkey: Valkey, tmp_path: Path) -> None:
    one, other = hubs
    async with Redis.from_url(valkey.url) as stranger:
        for text in ("not JSON", "[]", '{"heads": [1]}', '{"heads": [["a", "b", "c", 1]]}', '{"weather": "fine"}'):
            await stranger.publish(str(tmp_path), text)
    with other.watch(ALICE) as watch:
        await one.publish({ALICE: 1})

        await _beyond(watch, 0)
    assert other.health == "ok"


async def test_after_an_outage_inboxes_are_looked_at_anew_and_delivery_watchers_are_told(tmp_path: Path) -> None:
    """By those who lost the connection, each for itself."""
    checks = Checks()
    with Valkey() as valkey:
        async with running(valkey.url, str(tmp_path), checks) as hub:
            with hub.watch_deliveries("here") as watch:
                before = checks.count
                valkey.kill()
                assert await _until(hub, False) == "the broadcast server does not answer"
                valkey.start()
                await _until(hub, True)

                with pytest.raises(FellBehind):
                    await _changed(watch)
            assert checks.count == before + 1


async def test_what_cannot_be_sent_is_news_at_least_where_it_was_said(tmp_path: Path) -> None:
    row = rows.delivery(rows.content(domain_id="here"), rows.protocol())
    async with running(Valkey().url, str(tmp_path)) as hub:
        with hub.watch(ALICE) as inbox, hub.watch_deliveries("here") as deliveries:
            await hub.publish({ALICE: 3})
            await hub.publish_deliveries([row])

            await _beyond(inbox, 2)
            assert await _changed(deliveries) == [row.delivery_id]
        assert hub.untold == 2


async def test_who_could_not_send_tells_the_others_that_they_missed_something(valkey: Valkey, tmp_path: Path) -> None:
    """Also those whose own connection was never lost."""
    checks, road = Checks(), Road(valkey.port)
    async with (
        running(valkey.url, str(tmp_path), checks) as well,
        running(f"redis://127.0.0.1:{road.port}", str(tmp_path)) as cut_off,
    ):
        await cut_off.publish({ALICE: 3})
        before = checks.count
        with well.watch_deliveries("here") as watch:
            async with road:
                with pytest.raises(FellBehind):
                    await _changed(watch)
        assert (checks.count, well.health) == (before + 1, "ok")


async def test_a_wrong_word_about_an_inbox_wakes_its_stream_once(hubs: tuple[Hub, Hub]) -> None:
    """Whoever looks and finds nothing does not look again and again."""
    one, _ = hubs
    with one.watch(ALICE) as watch:
        await one.publish({ALICE: 1_000_000})
        await _beyond(watch, 5)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await watch.beyond(5)
        await one.publish({ALICE: 6})
        await _beyond(watch, 5)
