"""What a worker counts on the usage of a protocol's days, and what a quota withholds."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import text

from storage import usages
from storage.engine import Database
from storage.models import (
    DecisionReason,
    Delivery,
    DeliveryState,
    Protocol,
)
from storage.paging import Bounds
from storage.scope import Scope
from tests.dispatch import rows
from tests.dispatch.conftest import MakeDelivery, StartWorker, WatchedDatabase
from tests.dispatch.rows import enqueue, store
from tests.sink import Answer, Sink


async def usage(database: Database, row: Delivery) -> tuple[int, int]:
    """What is counted on the protocol's days: deliveries, and those that died."""
    async with database.read() as session:
        wanted = usages.Filter(protocol_id=row.protocol_id)
        found = await usages.in_scope(Scope("d")).page(session, wanted, Bounds(limit=10))
    return sum(each.count for each in found.rows), sum(each.fail_count for each in found.rows)


async def test_a_delivery_is_counted_once_however_often_it_is_tried(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.script.extend([Answer(500), Answer(500)])
    start_worker()
    await watched.until_state(delivery, DeliveryState.DELIVERED)

    assert await usage(watched, delivery) == (1, 0)


async def test_what_dies_is_given_back_and_counted_as_failed(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(410)
    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.DEAD)

    assert await usage(watched, delivery) == (0, 1)
    assert finished.counted_on is None


async def test_what_is_withheld_is_given_back(
    watched: WatchedDatabase, delivery: Delivery, start_worker: StartWorker
) -> None:
    await watched.run_sync(lambda connection: connection.execute(text("UPDATE channel SET state = 'DISABLED'")))
    start_worker()
    await watched.until_state(delivery, DeliveryState.SKIPPED)

    assert await usage(watched, delivery) == (0, 0)


async def test_what_the_quota_does_not_grant_is_skipped(
    watched: WatchedDatabase, make_delivery: MakeDelivery, protocol: Protocol, sink: Sink, start_worker: StartWorker
) -> None:
    await store(watched, rows.quota(protocol, day=3))
    made = [make_delivery() for _ in range(5)]
    await enqueue(watched, *made)
    start_worker()
    ended = [await watched.until(row, lambda found: found.finished_at is not None) for row in made]

    assert Counter(row.state for row in ended) == {DeliveryState.DELIVERED: 3, DeliveryState.SKIPPED: 2}
    skipped = [row for row in ended if row.state is DeliveryState.SKIPPED]
    assert {(row.reason, row.detail) for row in skipped} == {(DecisionReason.QUOTA, "The protocol's quota is used up.")}
    assert len(sink.received) == 3
    assert await usage(watched, made[0]) == (3, 0)
