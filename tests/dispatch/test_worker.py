from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import structlog
from cryptography.fernet import Fernet
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from dispatch.schedules import Schedule
from dispatch.sending import MAX_EXCERPT
from dispatch.worker import FULL_PAUSE, LEAD, Worker, WorkerSettings
from storage import deliveries, queue, usages
from storage.engine import Database
from storage.errors import DatabaseUnavailable
from storage.models import (
    Attempt,
    AttemptOutcome,
    Channel,
    Content,
    DayOfWeek,
    DecisionReason,
    Delivery,
    DeliveryState,
    OffHours,
    Protocol,
    ResourceState,
)
from storage.paging import Bounds
from storage.queue import Leased, Room
from storage.scope import Scope
from storage.secrets import MASK, Vault
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.conftest import StartWorker, WatchedDatabase
from tests.dispatch.rows import SATURDAY_EVENING, enqueue, store
from tests.sink import PATIENCE, Answer, Close, Hang, Sink

TOKEN = "Bearer of-good-news"
WEBHOOK_ID = "webhook-id"


class Plan:
    """What a plugin of the test does with each request, in turn, and the last one for ever."""

    def __init__(self, *results: Result | Exception | object) -> None:
        self.requests: list[DispatchRequest] = []
        self._called = asyncio.Event()
        self._results = list(results)

    async def until_called(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._called.wait()

    async def init(self, options: JsonObject) -> PluginInfo:
        return PluginInfo(name="Plan", data_schema={})

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)

    async def dispatch(self, request: DispatchRequest) -> Result:
        self.requests.append(request)
        self._called.set()
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[return-value]


class Held(Plan):
    """A plugin that answers when it is let go."""

    def __init__(self, *results: Result) -> None:
        super().__init__(*results)
        self.gate = asyncio.Event()

    async def dispatch(self, request: DispatchRequest) -> Result:
        result = await super().dispatch(request)
        await self.gate.wait()
        return result


OK = Result(AttemptOutcome.OK)
AGAIN = Result(AttemptOutcome.RETRY, error="Not now.")


@pytest.fixture
async def said(database: Database) -> Content:
    content = rows.content()
    await store(database, content)
    await store(database, rows.notification(content))
    return content


@pytest.fixture
async def protocol(database: Database) -> Protocol:
    protocol = rows.protocol()
    await store(database, protocol)
    return protocol


@pytest.fixture
async def channel(database: Database, protocol: Protocol, vault: Vault, sink: Sink) -> Channel:
    """A webhook channel to the sink, whose data is sealed."""
    data = {"url": sink.url("/hook?key=of-the-url"), "headers": {"authorization": TOKEN}}
    channel = rows.channel(protocol_id=protocol.protocol_id, secret_data=vault.seal(data))
    await store(database, channel)
    return channel


MakeDelivery = Callable[..., Delivery]


@pytest.fixture
def make_delivery(said: Content, protocol: Protocol, channel: Channel) -> MakeDelivery:
    return partial(rows.delivery, said, protocol, channel_id=channel.channel_id)


@pytest.fixture
async def delivery(database: Database, make_delivery: MakeDelivery) -> Delivery:
    """One that is due, through the webhook channel."""
    row = make_delivery()
    await enqueue(database, row)
    return row


async def attempts(database: Database, row: Delivery) -> list[Attempt]:
    async with database.read() as session:
        return (await deliveries.attempts(session, [row.delivery_id])).get(row.delivery_id, [])


def outcomes(made: list[Attempt]) -> list[AttemptOutcome]:
    return [attempt.outcome for attempt in made]


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
    assert outcomes(made) == [AttemptOutcome.RETRY, AttemptOutcome.RETRY, AttemptOutcome.OK]
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
    assert outcomes(await attempts(watched, row)) == [AttemptOutcome.BLOCKED]


async def test_an_attempt_without_an_answer_is_a_timeout_and_tried_again(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.script.append(Hang())
    start_worker(timeout=0.1)
    await watched.until_state(delivery, DeliveryState.DELIVERED)

    made = await attempts(watched, delivery)
    assert outcomes(made) == [AttemptOutcome.TIMEOUT, AttemptOutcome.OK]
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


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (ValueError(f"could not send {TOKEN} to smtp://me:pass4word@inside"), "The plugin failed (ValueError)."),
        (Result(AttemptOutcome.RETRY, error=f"The header {TOKEN} is wrong."), f"The header {MASK} is wrong."),
        (Result(AttemptOutcome.REFUSED, error="No: of-the-protocol"), f"No: {MASK}"),
        (object(), "The plugin did not say what came of it."),
        (Result(AttemptOutcome.RETRY, error="Null \0 and half \ud83d."), "Null \N{REPLACEMENT CHARACTER} and half ?."),
        (Result(AttemptOutcome.RETRY, error="long " * 1_000), "long " * 100),
    ],
)
async def test_what_a_plugin_says_is_kept_without_secrets_and_in_bounds(
    watched: WatchedDatabase, said: Content, vault: Vault, start_worker: StartWorker, result: Any, error: str
) -> None:
    through = rows.protocol(plugin_id="plan", secret_data=vault.seal({"key": "of-the-protocol"}))
    row = rows.delivery(said, through, plugin_id="plan", push_data=vault.seal({"headers": {"authorization": TOKEN}}))
    await store(watched, through)
    await enqueue(watched, row)
    with structlog.testing.capture_logs() as logs:
        start_worker(plugins={"plan": Plan(result)}, retry_schedule=())
        finished = await watched.until_state(row, DeliveryState.DEAD)

    (attempt,) = await attempts(watched, row)
    assert attempt.error == finished.detail == error
    assert not any(secret in str(logs) for secret in ("good-news", "of-the-protocol", "pass4word"))


async def test_what_is_kept_of_an_answer_does_not_end_in_the_beginning_of_a_secret(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(500, f"{'x' * (MAX_EXCERPT - len(TOKEN) + 5)}{TOKEN}".encode())
    start_worker(retry_schedule=())
    await watched.until_state(delivery, DeliveryState.DEAD)

    (attempt,) = await attempts(watched, delivery)
    assert str(attempt.response_excerpt).strip("x") == MASK


async def test_secrets_that_a_receiver_sends_back_are_masked(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(500, f'{{"authorization": "{TOKEN}", "target": "/hook?key=of-the-url"}}'.encode())
    start_worker(retry_schedule=())
    finished = await watched.until_state(delivery, DeliveryState.DEAD)

    (attempt,) = await attempts(watched, delivery)
    kept = f"{attempt.response_excerpt} {attempt.error} {finished.detail}"
    assert MASK in kept
    assert "good-news" not in kept
    assert "of-the-url" not in kept


async def test_a_receiver_that_cannot_be_reached_is_named_by_no_more_than_the_reason(
    watched: WatchedDatabase, said: Content, protocol: Protocol, vault: Vault, start_worker: StartWorker
) -> None:
    async with Sink() as gone:
        url = gone.url("/secret-path?token=of-the-url", host="me:pass4word@127.0.0.1")
    row = rows.delivery(said, protocol, push_data=vault.seal({"url": url}))
    await enqueue(watched, row)
    start_worker(retry_schedule=())
    finished = await watched.until_state(row, DeliveryState.DEAD)

    assert finished.detail == "The request failed: Connection refused."


async def test_a_plugin_that_is_not_installed_is_waited_for(
    watched: WatchedDatabase, delivery: Delivery, start_worker: StartWorker
) -> None:
    start_worker(plugins={}, retry_schedule=(1_000.0,))
    found = await watched.until_state(delivery, DeliveryState.RETRYING)

    assert found.detail == "The plugin is not installed here."


async def test_a_secret_that_cannot_be_read_is_told_and_tried_again(
    watched: WatchedDatabase, said: Content, protocol: Protocol, sink: Sink, start_worker: StartWorker
) -> None:
    other = Vault(Fernet.generate_key())
    row = rows.delivery(said, protocol, push_data=other.seal({"url": sink.url()}))
    await enqueue(watched, row)
    start_worker(retry_schedule=(1_000.0,))
    found = await watched.until_state(row, DeliveryState.RETRYING)

    assert found.detail == "A stored secret cannot be read with this encryption key."
    assert sink.received == []


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


async def test_a_worker_is_healthy_while_it_can_claim(watched: WatchedDatabase, start_worker: StartWorker) -> None:
    worker = start_worker()
    assert worker.healthy

    watched.lose(writes=1_000)
    worker.wake()
    await watched.until_lost()
    assert not worker.healthy


async def test_a_worker_that_can_no_longer_record_is_not_healthy(
    watched: WatchedDatabase, delivery: Delivery, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError  # nobody reads the log any more

    monkeypatch.setattr("dispatch.recorder._log", fail)
    monkeypatch.setattr("dispatch.recorder._log_loss", fail)
    worker = start_worker()
    [recorder] = [task for task in asyncio.all_tasks() if task.get_name() == "recorder"]
    await watched.until_state(delivery, DeliveryState.DELIVERED)
    await asyncio.wait([recorder], timeout=PATIENCE)

    assert isinstance(recorder.exception(), BrokenPipeError)
    assert not worker.healthy


async def test_an_outcome_is_recorded_once_the_database_is_back(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatch.recorder.PAUSE", 0.0)
    row = make_delivery(plugin_id="held")
    await enqueue(watched, row)
    held = Held(OK)
    start_worker(plugins={"held": held})
    await held.until_called()
    watched.lose(writes=3)
    held.gate.set()
    finished = await watched.until_state(row, DeliveryState.DELIVERED)

    assert (finished.attempt_no, len(held.requests)) == (1, 1)


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


async def usage(database: Database, row: Delivery) -> tuple[int, int]:
    """What is counted on the protocol's days: deliveries, and those that died."""
    async with database.read() as session:
        found = await usages.page(session, Scope("d"), usages.Filter(protocol_id=row.protocol_id), Bounds(limit=10))
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
