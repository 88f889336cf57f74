"""A channel that only fails for long is disabled, and its owner is told."""

from __future__ import annotations

from storage.engine import Database
from storage.models import (
    Channel,
    Delivery,
    DeliveryState,
    ResourceState,
)
from tests.conftest import Clock
from tests.dispatch.conftest import MakeDelivery, StartWorker, WatchedDatabase
from tests.dispatch.plans import AGAIN, Plan
from tests.dispatch.rows import enqueue
from tests.sink import PATIENCE, Answer, Sink


async def channel_of(database: Database, row: Delivery) -> Channel:
    async with database.read() as session:
        found = await session.get(Channel, row.channel_id)
    assert found is not None
    return found


async def test_a_channel_that_only_fails_is_disabled_after_a_while_and_its_owner_told(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    clock: Clock,
    start_worker: StartWorker,
) -> None:
    told: list[object] = []
    first, second, third = (make_delivery(plugin_id="plan") for _ in range(3))
    await enqueue(watched, first)
    worker = start_worker(plugins={"plan": Plan(AGAIN)}, retry_schedule=(), alert=lambda: told.append(clock()))
    await watched.until_state(first, DeliveryState.DEAD)
    assert (await channel_of(watched, first)).failing_since == clock()

    clock.advance(hours=119)
    await enqueue(watched, second)
    worker.wake()
    await watched.until_state(second, DeliveryState.DEAD)
    assert (await channel_of(watched, first)).state is ResourceState.ENABLED
    assert (await channel_of(watched, first)).alert_due_at is None

    clock.advance(hours=1)
    await enqueue(watched, third)
    worker.wake()
    await watched.until_state(third, DeliveryState.DEAD)
    disabled = await channel_of(watched, first)
    assert (disabled.state, disabled.alert_due_at) == (ResourceState.DISABLED, clock())
    await worker.stop(PATIENCE)
    assert told == [clock()]


async def test_a_success_clears_what_failed_before(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.script.append(Answer(500))
    start_worker()
    await watched.until_state(delivery, DeliveryState.DELIVERED)

    assert (await channel_of(watched, delivery)).failing_since is None


async def test_our_own_fault_is_not_held_against_a_channel(
    watched: WatchedDatabase, delivery: Delivery, start_worker: StartWorker
) -> None:
    start_worker(plugins={}, retry_schedule=(1_000.0,))
    await watched.until_state(delivery, DeliveryState.RETRYING)

    assert (await channel_of(watched, delivery)).failing_since is None
