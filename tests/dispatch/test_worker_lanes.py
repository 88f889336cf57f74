"""How a worker shares its places among destinations: one that is slow, or has thousands due, holds up no other."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dispatch.worker import FULL_PAUSE, Worker, WorkerSettings
from storage.models import (
    DeliveryState,
)
from storage.secrets import Vault
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.conftest import MakeDelivery, StartWorker, WatchedDatabase
from tests.dispatch.plans import OK, Held, Plan
from tests.dispatch.rows import SATURDAY_EVENING, enqueue
from tests.sink import Hang, Sink


async def test_slow_deliveries_leave_the_other_places_to_others(
    watched: WatchedDatabase, make_delivery: MakeDelivery, sink: Sink, start_worker: StartWorker
) -> None:
    slow, *others = (make_delivery() for _ in range(6))
    await enqueue(watched, slow)
    sink.script.append(Hang())
    worker = start_worker(concurrency=2)
    await sink.wait_for(1)
    await enqueue(watched, *others)
    worker.wake()
    for row in others:
        await watched.until_state(row, DeliveryState.DELIVERED)

    assert (await rows.reload(watched, slow)).state is DeliveryState.SENDING


async def test_no_more_is_sent_at_once_than_there_are_places(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    await enqueue(watched, *(make_delivery(plugin_id="held") for _ in range(5)))
    held = Held(OK)
    start_worker(plugins={"held": held}, concurrency=3)
    await held.until_called()
    for _ in range(10):
        await asyncio.sleep(0)

    assert len(held.requests) == 3


async def test_a_destination_that_hangs_does_not_hold_up_the_others(
    watched: WatchedDatabase, make_delivery: MakeDelivery, sink: Sink, start_worker: StartWorker
) -> None:
    """Hundreds are due there, and have been for longer."""
    await enqueue(watched, *(make_delivery(destination="stuck", plugin_id="held") for _ in range(500)))
    others = [make_delivery() for _ in range(50)]
    await enqueue(watched, *others)
    held = Held(OK)
    start_worker(plugins={"held": held, "webhook": Plan(OK)}, per_destination=4)
    for row in others:
        await watched.until_state(row, DeliveryState.DELIVERED)

    assert len(held.requests) == 4


async def test_behind_thousands_that_are_due_elsewhere_the_others_are_found(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A claim looks through the front of what is due only, and then steps from destination to destination."""
    monkeypatch.setattr("storage.queue.FRONT", 20)
    monkeypatch.setattr("storage.queue.VISITS", 2)
    due = [SATURDAY_EVENING - timedelta(minutes=minutes) for minutes in range(1, 101)]
    stuck = [make_delivery(destination="b", plugin_id="held", next_attempt_at=moment) for moment in due]
    later = [make_delivery(destination=name, next_attempt_at=SATURDAY_EVENING) for name in "acdefg"]
    await enqueue(watched, *stuck, *later)
    held = Held(OK)
    start_worker(plugins={"held": held, "webhook": Plan(OK)}, per_destination=2)
    for row in later:
        await watched.until_state(row, DeliveryState.DELIVERED)

    assert len(held.requests) == 2


async def test_while_all_that_is_due_is_for_full_destinations_it_is_seldom_asked_for(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    vault: Vault,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than a claim looks through; what lands there wakes the worker anyway."""
    monkeypatch.setattr("storage.queue.FRONT", 20)
    await enqueue(watched, *(make_delivery(destination="stuck", plugin_id="held") for _ in range(100)))
    settings = WorkerSettings(per_destination=4)
    worker = Worker(watched, vault, plugins={"held": Held(OK)}, clock=clock, settings=settings)

    pauses = [await worker._step() for _ in range(3)]
    await worker.stop(0)

    assert pauses == [0, FULL_PAUSE, FULL_PAUSE]
