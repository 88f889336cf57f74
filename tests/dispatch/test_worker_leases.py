"""Leases: what is claimed is sent by one worker at a time, and goes to another when its worker crashes or stops."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Collection
from functools import partial

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.plugins import DispatchRequest, Result
from dispatch.worker import LEAD
from storage import queue
from storage.errors import DatabaseUnavailable
from storage.models import (
    Delivery,
    DeliveryState,
)
from storage.queue import Room
from tests.dispatch import rows
from tests.dispatch.conftest import WEBHOOK_ID, MakeDelivery, StartWorker, WatchedDatabase
from tests.dispatch.plans import AGAIN, OK, Held, Plan
from tests.dispatch.rows import SATURDAY_EVENING, enqueue
from tests.sink import PATIENCE, Hang, Sink


async def test_what_a_crashed_worker_had_claimed_is_sent_when_its_lease_ends(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    """Whether the crash came before or after the request: the far side tells the repeat by its id."""
    (crashed,) = (await watched.write(partial(queue.claim, room=Room(1), lease=0.2, now=SATURDAY_EVENING))).claimed
    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.DELIVERED)

    assert finished.attempt_no == crashed.delivery.attempt_no + 1
    assert [received.headers[WEBHOOK_ID] for received in sink.received] == [delivery.delivery_id]


async def test_a_lease_that_lasts_is_not_taken(
    watched: WatchedDatabase, delivery: Delivery, make_delivery: MakeDelivery, sink: Sink, start_worker: StartWorker
) -> None:
    await watched.write(partial(queue.claim, room=Room(1), lease=60, now=SATURDAY_EVENING))
    other = make_delivery()
    await enqueue(watched, other)
    start_worker()
    await watched.until_state(other, DeliveryState.DELIVERED)

    assert [received.headers[WEBHOOK_ID] for received in sink.received] == [other.delivery_id]


async def test_at_the_end_what_is_being_sent_is_finished(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    row = make_delivery(plugin_id="held")
    await enqueue(watched, row)
    held = Held(OK)
    worker = start_worker(plugins={"held": held})
    await held.until_called()
    stopping = asyncio.create_task(worker.stop(PATIENCE))
    ended, _ = await asyncio.wait([stopping], timeout=0.2)
    assert not ended

    held.gate.set()
    await stopping
    assert (await rows.reload(watched, row)).state is DeliveryState.DELIVERED
    assert not worker.healthy


async def test_at_the_end_what_takes_too_long_is_given_back_to_other_workers(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.script.append(Hang())
    first = start_worker()
    await sink.wait_for(1)
    await first.stop(0)

    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.DELIVERED)

    assert [received.headers[WEBHOOK_ID] for received in sink.received] == [delivery.delivery_id] * 2
    assert finished.attempt_no == 2


async def test_what_was_claimed_too_long_ago_is_left_to_its_lease(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    """The process stood still between its claim and the sending: another worker may hold the lease by now."""
    row = make_delivery(plugin_id="plan")
    await enqueue(watched, row)
    plan, hours = Plan(OK), itertools.count(0, 3_600)
    worker = start_worker(plugins={"plan": plan}, monotonic=lambda: float(next(hours)))
    await watched.until_state(row, DeliveryState.SENDING)
    await worker.stop(PATIENCE)

    assert plan.requests == []
    assert (await rows.reload(watched, row)).state is DeliveryState.SENDING


async def test_what_is_late_is_given_back_though_the_database_was_away_at_first(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two are claimed for one place, and the second waits for too long."""
    release, failures = queue.release, [DatabaseUnavailable("The database does not answer.")]

    async def release_at_last(session: AsyncSession, leases: Collection[tuple[str, int]]) -> None:
        if failures:
            raise failures.pop()
        await release(session, leases)

    monkeypatch.setattr(queue, "release", release_at_last)
    made = [make_delivery(plugin_id="held") for _ in range(2)]
    await enqueue(watched, *made)
    held, now = Held(OK), [0.0]
    start_worker(plugins={"held": held}, concurrency=1, per_destination=2, monotonic=lambda: now[0])
    await held.until_called()
    now[0] = LEAD + 1
    held.gate.set()
    for row in made:
        await watched.until_state(row, DeliveryState.DELIVERED)

    assert failures == []
    assert sorted([(await rows.reload(watched, row)).attempt_no for row in made]) == [1, 2]


class Lingering(Plan):
    """A plugin that takes a moment to let go of what is cancelled."""

    def __init__(self) -> None:
        super().__init__(OK)
        self.has_let_go = False

    async def dispatch(self, request: DispatchRequest) -> Result:
        await super().dispatch(request)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.has_let_go = True
        raise AssertionError("unreachable")


async def test_at_the_end_nothing_is_given_back_while_it_is_still_being_sent(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release, given_back, lingering = queue.release, [], Lingering()

    async def note(session: AsyncSession, leases: Collection[tuple[str, int]]) -> None:
        given_back.append(lingering.has_let_go)
        await release(session, leases)

    monkeypatch.setattr(queue, "release", note)
    await enqueue(watched, make_delivery(plugin_id="lingering"))
    worker = start_worker(plugins={"lingering": lingering})
    await lingering.until_called()
    await worker.stop(0)

    assert given_back == [True]


async def test_what_goes_on_for_long_keeps_its_lease(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    row = make_delivery(plugin_id="held")
    await enqueue(watched, row)
    held, now = Held(OK), [0.0]
    worker = start_worker(plugins={"held": held}, monotonic=lambda: now[0])
    await held.until_called()
    before = (await rows.reload(watched, row)).lease_until
    now[0] = 20.0
    worker.wake()
    renewed = await watched.until(row, lambda found: found.lease_until != before)

    assert renewed.attempt_no == 1
    assert before is not None
    assert renewed.lease_until is not None
    assert renewed.lease_until > before


async def test_two_workers_send_each_delivery_once(
    watched: WatchedDatabase, make_delivery: MakeDelivery, sink: Sink, start_worker: StartWorker
) -> None:
    made = [make_delivery() for _ in range(60)]
    await enqueue(watched, *made)
    start_worker(concurrency=8)
    start_worker(concurrency=8)
    for row in made:
        await watched.until_state(row, DeliveryState.DELIVERED)

    sent = Counter(received.headers[WEBHOOK_ID] for received in sink.received)
    assert sent == {row.delivery_id: 1 for row in made}


class Flaky(Plan):
    """A plugin that fails every other time, and notices when it is asked for one delivery twice at once."""

    def __init__(self) -> None:
        super().__init__(AGAIN)
        self.overlaps = 0
        self._calls: Counter[str] = Counter()
        self._busy: set[str] = set()

    async def dispatch(self, request: DispatchRequest) -> Result:
        delivery_id = request.envelope.delivery_id
        self.overlaps += delivery_id in self._busy
        self._busy.add(delivery_id)
        for _ in range(5):
            await asyncio.sleep(0)
        self._busy.discard(delivery_id)
        self._calls[delivery_id] += 1
        return OK if self._calls[delivery_id] % 2 == 0 else AGAIN


async def test_attempts_of_one_delivery_do_not_overlap(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    made = [make_delivery(plugin_id="flaky") for _ in range(20)]
    await enqueue(watched, *made)
    flaky = Flaky()
    for _ in range(3):
        start_worker(plugins={"flaky": flaky}, concurrency=8, retry_schedule=(0.0,) * 5)
    for row in made:
        finished = await watched.until_state(row, DeliveryState.DELIVERED)
        assert finished.attempt_count == finished.attempt_no == 2

    assert flaky.overlaps == 0
