"""A worker sends what is due as it was said, tries again what failed, and hears of what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.schedules import Schedule
from storage import queue
from storage.models import (
    AttemptOutcome,
    Channel,
    Content,
    DayOfWeek,
    DecisionReason,
    Delivery,
    DeliveryState,
    OffHours,
    Protocol,
)
from storage.queue import Leased
from storage.secrets import Vault
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.conftest import TOKEN, WEBHOOK_ID, MakeDelivery, StartWorker, WatchedDatabase
from tests.dispatch.plans import AGAIN, OK, Plan
from tests.dispatch.rows import SATURDAY_EVENING, attempts, enqueue, store
from tests.sink import PATIENCE, Answer, Close, Hang, Sink


async def test_a_delivery_arrives_as_it_was_said_and_is_recorded(
    watched: WatchedDatabase, delivery: Delivery, said: Content, sink: Sink, start_worker: StartWorker
) -> None:
    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.DELIVERED)

    (received,) = sink.received
    assert received.json == {
        "deliveryId": delivery.delivery_id,
        "notificationId": delivery.notification_id,
        "domainId": "d",
        "topic": "monitoring.alert",
        "notificationType": "ERROR",
        "notificationLevel": "LV2",
        "message": said.message,
        "createdAt": "2026-01-31T17:12:40.990Z",
    }
    assert (received.method, received.target) == ("POST", "/hook?key=of-the-url")
    assert received.headers["content-type"] == "application/json"
    assert received.headers[WEBHOOK_ID] == delivery.delivery_id
    assert received.headers["webhook-timestamp"] == str(int(SATURDAY_EVENING.timestamp()))
    assert received.headers["authorization"] == TOKEN
    assert (finished.reason, finished.attempt_count, finished.finished_at) == (None, 1, SATURDAY_EVENING)
    (attempt,) = await attempts(watched, delivery)
    assert (attempt.outcome, attempt.status_code, attempt.response_excerpt) == (AttemptOutcome.OK, 200, "ok")
    assert (attempt.started_at, attempt.error) == (SATURDAY_EVENING, None)


async def test_a_push_goes_to_the_address_that_it_brought(
    watched: WatchedDatabase, said: Content, protocol: Protocol, vault: Vault, sink: Sink, start_worker: StartWorker
) -> None:
    row = rows.delivery(said, protocol, push_data=vault.seal({"url": sink.url("/push")}))
    await enqueue(watched, row)
    start_worker()
    await watched.until_state(row, DeliveryState.DELIVERED)

    assert sink.received[0].target == "/push"


async def test_a_plugin_is_given_options_secret_message_and_data(
    watched: WatchedDatabase, said: Content, vault: Vault, start_worker: StartWorker
) -> None:
    through = rows.protocol(plugin_id="plan", options={"region": "eu"}, secret_data=vault.seal({"key": "k"}))
    channel = rows.channel(protocol_id=through.protocol_id, data={"phone": "+49"})
    row = rows.delivery(said, through, channel_id=channel.channel_id)
    await store(watched, through, channel)
    await enqueue(watched, row)
    plan = Plan(OK)
    start_worker(plugins={"plan": plan})
    await watched.until_state(row, DeliveryState.DELIVERED)

    (request,) = plan.requests
    assert (request.options, request.secret_data, request.channel_data) == (
        {"region": "eu"},
        {"key": "k"},
        {"phone": "+49"},
    )
    assert (request.message, request.notification_type) == (said.message, said.notification_type)
    assert request.envelope.notification_level is said.notification_level


@pytest.mark.parametrize("failure", [Answer(503), Answer(404), Answer(302), Close(), Close(b"nonsense")])
async def test_a_failure_is_tried_again_with_the_same_id(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker, failure: Answer | Close
) -> None:
    sink.script.extend([failure, failure])
    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.DELIVERED)

    assert [received.headers[WEBHOOK_ID] for received in sink.received] == [delivery.delivery_id] * 3
    assert len({received.body for received in sink.received}) == 1
    made = await attempts(watched, delivery)
    assert [attempt.outcome for attempt in made] == [AttemptOutcome.RETRY, AttemptOutcome.RETRY, AttemptOutcome.OK]
    assert finished.attempt_count == 3
    assert made[0].error


async def test_retries_come_to_an_end(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(500, b"broken")
    start_worker(retry_schedule=(0.01, 0.01))
    finished = await watched.until_state(delivery, DeliveryState.DEAD)

    assert (finished.reason, finished.attempt_count) == (DecisionReason.RETRIES_EXHAUSTED, 3)
    assert finished.detail == "The receiver answered 500."
    assert (await attempts(watched, delivery))[-1].response_excerpt == "broken"


@pytest.mark.parametrize("status", [401, 403, 410])
async def test_a_receiver_that_refuses_for_good_is_not_asked_again(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker, status: int
) -> None:
    sink.otherwise = Answer(status)
    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.DEAD)

    assert finished.reason is DecisionReason.REFUSED
    assert len(sink.received) == 1
    (attempt,) = await attempts(watched, delivery)
    assert (attempt.outcome, attempt.status_code) == (AttemptOutcome.REFUSED, status)


async def test_an_address_that_is_not_allowed_gets_nothing(
    watched: WatchedDatabase, said: Content, protocol: Protocol, vault: Vault, start_worker: StartWorker
) -> None:
    row = rows.delivery(said, protocol, push_data=vault.seal({"url": "http://169.254.169.254/latest/meta-data"}))
    await enqueue(watched, row)
    start_worker()
    finished = await watched.until_state(row, DeliveryState.DEAD)

    assert finished.reason is DecisionReason.REFUSED
    assert [attempt.outcome for attempt in await attempts(watched, row)] == [AttemptOutcome.BLOCKED]


async def test_an_attempt_without_an_answer_is_a_timeout_and_tried_again(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.script.append(Hang())
    start_worker(timeout=0.1)
    await watched.until_state(delivery, DeliveryState.DELIVERED)

    made = await attempts(watched, delivery)
    assert [attempt.outcome for attempt in made] == [AttemptOutcome.TIMEOUT, AttemptOutcome.OK]
    assert 100 <= made[0].duration_ms < 1_000 * PATIENCE


async def test_a_timeout_waits_a_minute_at_least(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Hang()
    start_worker(timeout=0.1, breather=60.0)
    await watched.until_state(delivery, DeliveryState.RETRYING)

    async with watched.read() as session:
        due = await queue.next_due(session)
    assert due is not None
    assert 50 < due <= 60


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE channel SET state = 'DISABLED'", DecisionReason.CHANNEL_DISABLED),
        ("UPDATE protocol SET state = 'DISABLED'", DecisionReason.PROTOCOL_DISABLED),
        ("DELETE FROM channel", DecisionReason.CHANNEL_DELETED),
    ],
)
async def test_what_was_switched_off_since_gets_nothing(
    watched: WatchedDatabase,
    delivery: Delivery,
    sink: Sink,
    start_worker: StartWorker,
    change: str,
    reason: DecisionReason,
) -> None:
    await watched.run_sync(lambda connection: connection.execute(text(change)))
    start_worker()
    finished = await watched.until_state(delivery, DeliveryState.SKIPPED)

    assert (finished.reason, finished.attempt_count) == (reason, 0)
    assert sink.received == []


async def test_a_push_through_a_protocol_that_was_deleted_since_gets_nothing(
    watched: WatchedDatabase, said: Content, protocol: Protocol, start_worker: StartWorker
) -> None:
    row = rows.delivery(said, protocol)
    await enqueue(watched, row)
    await watched.run_sync(lambda connection: connection.execute(text("DELETE FROM protocol")))
    start_worker()
    finished = await watched.until_state(row, DeliveryState.SKIPPED)

    assert finished.reason is DecisionReason.PROTOCOL_DISABLED


@pytest.mark.parametrize("is_open", [True, False])
async def test_what_waited_for_its_channel_to_open_is_planned_again(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    channel: Channel,
    clock: Clock,
    start_worker: StartWorker,
    is_open: bool,
) -> None:
    """Its schedule may have changed meanwhile; what did not wait for it is sent without asking."""
    day = DayOfWeek.SAT if is_open else DayOfWeek.SUN
    schedule = Schedule((day,), "08:00", "20:00", off_hours=OffHours.DEFER)
    channel.schedule = schedule.to_json()
    await store(watched, channel)
    waited = make_delivery(reason=DecisionReason.OFF_HOURS, next_attempt_at=clock())
    await enqueue(watched, waited)
    start_worker()
    found = await watched.until(waited, lambda row: row.attempt_no == 1 and row.state is not DeliveryState.SENDING)

    if is_open:
        assert (found.state, found.reason) == (DeliveryState.DELIVERED, None)
    else:
        assert (found.state, found.reason) == (DeliveryState.PENDING, DecisionReason.OFF_HOURS)
        assert found.next_attempt_at == schedule.next_opening(clock())


async def test_a_plugin_that_is_not_installed_is_waited_for(
    watched: WatchedDatabase, delivery: Delivery, start_worker: StartWorker
) -> None:
    start_worker(plugins={}, retry_schedule=(1_000.0,))
    found = await watched.until_state(delivery, DeliveryState.RETRYING)

    assert found.detail == "The plugin is not installed here."


async def test_a_wake_up_sends_at_once_what_was_committed(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    sink: Sink,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatch.worker.POLL", 1_000.0)
    first, second = make_delivery(), make_delivery()
    await enqueue(watched, first)
    worker = start_worker()
    await watched.until_state(first, DeliveryState.DELIVERED)
    await enqueue(watched, second)
    worker.wake()
    await watched.until_state(second, DeliveryState.DELIVERED)


async def test_a_retry_is_sent_when_it_is_due_without_any_signal(
    watched: WatchedDatabase,
    delivery: Delivery,
    sink: Sink,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatch.worker.POLL", 1_000.0)
    sink.script.append(Answer(500))
    start_worker(retry_schedule=(0.2,))
    await watched.until_state(delivery, DeliveryState.DELIVERED)


async def test_a_lost_wake_up_only_costs_time(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    first, second = make_delivery(), make_delivery()
    await enqueue(watched, first)
    start_worker()
    await watched.until_state(first, DeliveryState.DELIVERED)
    await enqueue(watched, second)
    await watched.until_state(second, DeliveryState.DELIVERED)


async def test_asked_for_again_it_has_every_retry_ahead_of_it(
    watched: WatchedDatabase, make_delivery: MakeDelivery, start_worker: StartWorker
) -> None:
    row = make_delivery(plugin_id="plan", attempt_count=3, retries_from=3)
    await enqueue(watched, row)
    start_worker(plugins={"plan": Plan(AGAIN)}, retry_schedule=(0.0, 0.0))
    finished = await watched.until_state(row, DeliveryState.DEAD)

    assert finished.attempt_count == 6


async def test_a_receiver_is_left_alone_for_as_long_as_it_asks(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(503, headers={"retry-after": "150"})
    start_worker(retry_schedule=(100.0,))
    await watched.until_state(delivery, DeliveryState.RETRYING)

    async with watched.read() as session:
        due = await queue.next_due(session)
    assert due is not None
    assert 140 < due <= 150


async def test_who_wants_to_know_is_told_of_claims_and_outcomes(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    told: list[str] = []

    async def announce(changed: Sequence[Leased]) -> None:
        told.extend(row.delivery_id for row in changed)

    worker = start_worker(announce=announce)
    await watched.until_state(delivery, DeliveryState.DELIVERED)
    await worker.stop(PATIENCE)

    assert told == [delivery.delivery_id] * 2


async def test_an_idle_worker_only_reads(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes would wait for SQLite's only writer."""
    monkeypatch.setattr("dispatch.worker.POLL", 0.01)
    start_worker()
    await watched.until_state(delivery, DeliveryState.DELIVERED)
    asked, writes = asyncio.Semaphore(0), watched.writes

    async def next_due(session: AsyncSession) -> None:
        asked.release()

    monkeypatch.setattr("storage.queue.next_due", next_due)
    async with asyncio.timeout(PATIENCE):
        for _ in range(5):
            await asked.acquire()
    assert watched.writes == writes
