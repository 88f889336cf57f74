"""Steering deliveries: who may, from which state to which, and what of it comes through while workers work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import func, select

from dispatch.hub import MAX_UNREAD
from dispatch.schedules import Schedule
from resolvers import channels, deliveries, inboxes, notifications, protocols, steering
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable
from storage import ids, states
from storage.channels import Kind
from storage.deliveries import Filter
from storage.models import (
    Channel,
    Content,
    DayOfWeek,
    DecisionReason,
    Delivery,
    DeliveryState,
    Notification,
    NotificationUsage,
    Protocol,
    ResourceState,
)
from storage.queue import Claimed, Leased, Verdict
from storage.selected import Row
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING
from tests.resolvers import working
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.conftest import Wakes
from tests.resolvers.refusals import at
from tests.resolvers.said import inside, log_protocol, of_user, outside, say

DEADLINE = 60
Steer = Callable[..., Awaitable[Delivery]]
RETRYING = Verdict(DeliveryState.RETRYING, detail="500", delay=3600)
DEAD = Verdict(DeliveryState.DEAD, DecisionReason.REFUSED, "410")
HELD = Verdict(DeliveryState.SKIPPED, DecisionReason.OFF_HOURS, "Closed.")
ENDS = {
    DeliveryState.RETRYING: RETRYING,
    DeliveryState.DELIVERED: Verdict(DeliveryState.DELIVERED),
    DeliveryState.DEAD: DEAD,
    DeliveryState.SKIPPED: HELD,
}


@pytest.fixture
async def protocol(server: Server) -> Protocol:
    return await log_protocol(server)


@pytest.fixture
async def channel(server: Server, protocol: Protocol) -> Channel:
    """Alice's own."""
    return await of_user(server, ALICE, protocol)


async def _claim(server: Server) -> Sequence[Claimed]:
    return await working.claim(server.database)


async def _record(server: Server, delivery: Leased, verdict: Verdict) -> None:
    assert await working.record(server.database, delivery, verdict)


async def _delivery(server: Server, state: DeliveryState = DeliveryState.PENDING, **creation: Any) -> Delivery:
    """A delivery to Alice in this state, moved there as a worker moves it."""
    said = await say(server, **creation)
    [made] = await notifications.deliveries_of(server, said.notification_id, first=10)
    if state is DeliveryState.PENDING:
        return made
    [claimed] = await _claim(server)
    if state is not DeliveryState.SENDING:
        await _record(server, claimed.delivery, ENDS[state])
    return await rows.reload(server.database, made)


async def _forget(server: Server, delivery: Delivery) -> None:
    """Delete the notification: what it said goes with it, once no open delivery needs it."""
    await inboxes.delete(server, ADMIN, notification_ids=[delivery.notification_id], origin_id=None)


async def _count(server: Server, table: type[Any]) -> int:
    async with server.database.read() as session:
        return (await session.exec(select(func.count()).select_from(table))).one()


# Retrying


@pytest.mark.parametrize("state", sorted(states.REVIVABLE))
async def test_what_failed_or_was_held_is_due_at_once_with_every_retry_ahead(
    server: Server, channel: Channel, wakes: Wakes, state: DeliveryState
) -> None:
    row = await _delivery(server, state)
    woken = wakes.worker

    retried = await steering.retry(server, ADMIN, delivery_id=row.delivery_id)

    assert (retried.delivery_id, retried.state) == (row.delivery_id, DeliveryState.PENDING)
    assert (retried.reason, retried.detail, retried.finished_at) == (None, None, None)
    assert retried.retries_from == retried.attempt_count == 1
    assert wakes.worker == woken + 1
    [claimed] = await _claim(server)
    assert claimed.delivery.delivery_id == row.delivery_id
    assert claimed.content is not None


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - states.REVIVABLE))
async def test_what_is_on_its_way_or_has_arrived_is_not_retried(
    server: Server, channel: Channel, state: DeliveryState
) -> None:
    row = await _delivery(server, state)

    with pytest.raises(FailedPrecondition, check=at("deliveryId")):
        await steering.retry(server, ADMIN, delivery_id=row.delivery_id)

    assert await rows.reload(server.database, row) == row


async def test_what_it_said_has_to_be_there_still(server: Server, channel: Channel) -> None:
    row = await _delivery(server, DeliveryState.DEAD)
    await _forget(server, row)
    await say(server, "bob")  # its content does not get the id of the one that is gone

    with pytest.raises(FailedPrecondition, check=at("deliveryId")):
        await steering.retry(server, ADMIN, delivery_id=row.delivery_id)

    assert (await rows.reload(server.database, row)).state is DeliveryState.DEAD


async def test_content_stays_for_what_is_being_retried(server: Server, channel: Channel) -> None:
    """Deleting and retrying at once: either the content stays, or there is no retry."""
    for _ in range(10):
        row = await _delivery(server, DeliveryState.DEAD)

        async with asyncio.timeout(DEADLINE):
            retried, _ = await asyncio.gather(
                steering.retry(server, ADMIN, delivery_id=row.delivery_id),
                _forget(server, row),
                return_exceptions=True,
            )

        if isinstance(retried, Delivery):
            [claimed] = await _claim(server)
            assert claimed.content is not None
            await _record(server, claimed.delivery, DEAD)
        else:
            assert isinstance(retried, FailedPrecondition)
    assert await _count(server, Content) == 0


# Cancelling


@pytest.mark.parametrize("state", sorted(states.WAITING))
async def test_what_waits_is_held_at_once(server: Server, channel: Channel, clock: Clock, state: DeliveryState) -> None:
    row = await _delivery(server, state)

    await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)

    held = await rows.reload(server.database, row)
    assert (held.state, held.reason) == (DeliveryState.SKIPPED, DecisionReason.CANCELLED)
    assert (held.next_attempt_at, held.finished_at) == (None, clock.now)
    assert not await _claim(server)


async def test_what_is_held_needs_its_content_no_longer(server: Server, channel: Channel) -> None:
    row = await _delivery(server)
    await _forget(server, row)
    assert await _count(server, Content) == 1

    await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)

    assert await _count(server, Content) == 0


@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [
        (ENDS[DeliveryState.DELIVERED], DeliveryState.DELIVERED, None),
        (RETRYING, DeliveryState.SKIPPED, DecisionReason.CANCELLED),
        (DEAD, DeliveryState.DEAD, DecisionReason.REFUSED),
    ],
)
async def test_what_is_being_sent_may_arrive_but_is_not_tried_again(
    server: Server, channel: Channel, verdict: Verdict, state: DeliveryState, reason: DecisionReason | None
) -> None:
    await _delivery(server)
    [claimed] = await _claim(server)

    cancelled = await steering.cancel(server, ADMIN, delivery_id=claimed.delivery.delivery_id)
    assert cancelled.state is DeliveryState.SENDING
    await _record(server, claimed.delivery, verdict)

    row = await rows.reload(server.database, claimed.delivery)
    assert (row.state, row.reason) == (state, reason)


async def test_why_it_was_withdrawn_first_stays_the_reason(server: Server, channel: Channel) -> None:
    await _delivery(server)
    [claimed] = await _claim(server)
    await channels.delete(server, ALICE, Kind.USER, channel_id=channel.channel_id)

    cancelled = await steering.cancel(server, ADMIN, delivery_id=claimed.delivery.delivery_id)

    assert cancelled.reason is DecisionReason.CHANNEL_DELETED


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.SKIPPED])
async def test_what_is_finished_is_not_cancelled(server: Server, channel: Channel, state: DeliveryState) -> None:
    row = await _delivery(server, state)

    with pytest.raises(FailedPrecondition, check=at("deliveryId")):
        await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)

    assert await rows.reload(server.database, row) == row


async def test_what_is_held_after_a_try_gives_its_place_in_the_quota_back(server: Server, channel: Channel) -> None:
    cancelled = await _delivery(server, DeliveryState.RETRYING)
    await _delivery(server, DeliveryState.RETRYING)
    await _delivery(server, DeliveryState.DELIVERED)
    assert await _counted(server) == (3, 0)

    assert (await steering.cancel(server, ADMIN, delivery_id=cancelled.delivery_id)).counted_on is None
    assert await _counted(server) == (2, 0)
    await channels.delete(server, ADMIN, Kind.USER, channel_id=channel.channel_id)
    assert await _counted(server) == (1, 0)


async def test_what_is_retried_counts_once(server: Server, channel: Channel) -> None:
    row = await _delivery(server, DeliveryState.RETRYING)
    await steering.retry(server, ADMIN, delivery_id=row.delivery_id)
    [claimed] = await _claim(server)
    assert await _counted(server) == (1, 0)

    await _record(server, claimed.delivery, DEAD)
    assert await _counted(server) == (0, 1)
    await steering.retry(server, ADMIN, delivery_id=row.delivery_id)
    await _claim(server)
    assert await _counted(server) == (1, 1)


async def _counted(server: Server) -> tuple[int, int]:
    async with server.database.read() as session:
        [usage] = await session.exec(select(NotificationUsage))
    return usage.count, usage.fail_count


# Who may


@pytest.mark.parametrize("steer", [steering.retry, steering.cancel])
async def test_a_user_steers_what_goes_through_own_channels(
    server: Server, channel: Channel, protocol: Protocol, steer: Steer
) -> None:
    await outside(server, protocol)
    project = await _delivery(server, DeliveryState.RETRYING, resource_id="p1", resource_type="identity.Project")
    own = await _delivery(server, DeliveryState.RETRYING)

    assert (await steer(server, ALICE, delivery_id=own.delivery_id)).delivery_id == own.delivery_id
    for caller, row in ((ALICE, project), (BOB, own), (AWAY_ADMIN, own)):
        with pytest.raises(NotFound, check=at("deliveryId")):
            await steer(server, caller, delivery_id=row.delivery_id)
    assert (await steer(server, SYSTEM, delivery_id=project.delivery_id)).delivery_id == project.delivery_id


async def test_a_service_steers_nothing(server: Server, channel: Channel) -> None:
    row = await _delivery(server)

    for denied in (
        steering.retry(server, SERVICE, delivery_id=row.delivery_id),
        steering.cancel(server, SERVICE, delivery_id=row.delivery_id),
        steering.try_channel(server, SERVICE, channel_id=channel.channel_id),
        steering.replay(server, SERVICE, Filter(), since=SATURDAY_EVENING),
        steering.replay(server, ALICE, Filter(), since=SATURDAY_EVENING),
    ):
        with pytest.raises(PermissionDenied):
            await denied


# Replaying


async def _replay(server: Server, caller: Caller = ADMIN, *, domain_id: str | None = None, **wanted: Any) -> int:
    since = wanted.pop("since", SATURDAY_EVENING)
    return await steering.replay(server, caller, Filter(**wanted), since=since, domain_id=domain_id)


async def test_what_died_is_sent_again(server: Server, channel: Channel, wakes: Wakes) -> None:
    made = {state: await _delivery(server, state) for state in ENDS}
    woken = wakes.worker

    assert await _replay(server) == 1

    after = {state: (await rows.reload(server.database, row)).state for state, row in made.items()}
    assert after == {state: state for state in ENDS} | {DeliveryState.DEAD: DeliveryState.PENDING}
    assert wakes.worker == woken + 1
    assert await _replay(server) == 0


async def test_what_was_held_is_sent_again_where_that_is_asked_for(server: Server, channel: Channel) -> None:
    for state in ENDS:
        await _delivery(server, state)

    assert await _replay(server, states=[DeliveryState.SKIPPED]) == 1
    assert await _replay(server, states=[]) == 0
    assert await _replay(server, states=[DeliveryState.SKIPPED, DeliveryState.DEAD]) == 1


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - states.REPLAYABLE))
async def test_other_states_cannot_be_replayed(server: Server, state: DeliveryState) -> None:
    with pytest.raises(InvalidArgument, check=at("filter.states")):
        await _replay(server, states=[DeliveryState.DEAD, state])


async def test_a_replay_is_narrowed_by_time_filter_and_domain(server: Server, channel: Channel, clock: Clock) -> None:
    row = await _delivery(server, DeliveryState.DEAD)

    assert await _replay(server, since=clock.now + timedelta(milliseconds=1)) == 0
    assert await _replay(server, channel_id="user-ch-000000000000") == 0
    assert await _replay(server, created_before=row.created_at) == 0
    assert await _replay(server, AWAY_ADMIN) == 0
    assert await _replay(server, SYSTEM) == 0
    with pytest.raises(PermissionDenied):
        await _replay(server, AWAY_ADMIN, domain_id="home")
    assert await _replay(server, SYSTEM, domain_id="home", since=row.created_at, channel_id=row.channel_id) == 1


async def test_what_has_lost_its_content_is_left_out_of_a_replay(server: Server, channel: Channel) -> None:
    gone, kept = [await _delivery(server, DeliveryState.DEAD) for _ in range(2)]
    await _forget(server, gone)

    assert await _replay(server) == 1

    assert (await rows.reload(server.database, gone)).state is DeliveryState.DEAD
    assert (await rows.reload(server.database, kept)).state is DeliveryState.PENDING


async def test_a_replay_takes_the_oldest_and_a_bounded_number(
    server: Server, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "MAX_REPLAYED", 3)
    said = rows.content(domain_id="home")
    record = rows.notification(said)
    await rows.store(server.database, said, record)
    record.content_id = said.content_id
    await rows.store(server.database, record)
    dead = [
        rows.delivery(said, protocol, state=DeliveryState.DEAD, created_at=SATURDAY_EVENING + timedelta(seconds=second))
        for second in range(5)
    ]
    await rows.enqueue(server.database, *dead)

    assert await _replay(server) == 3
    now = [(await rows.reload(server.database, row)).state for row in dead]
    assert now == [DeliveryState.PENDING] * 3 + [DeliveryState.DEAD] * 2
    assert await _replay(server) == 2


async def test_replays_at_once_send_each_delivery_again_once(server: Server, channel: Channel) -> None:
    for _ in range(5):
        await _delivery(server, DeliveryState.DEAD)

    async with asyncio.timeout(DEADLINE):
        counts = await asyncio.gather(*(_replay(server) for _ in range(4)))

    assert sum(counts) == 5


@pytest.mark.parametrize("state", sorted(states.WAITING))
async def test_workers_and_callers_see_each_others_whole_change_or_none(
    server: Server, channel: Channel, state: DeliveryState
) -> None:
    """A worker claims while callers cancel and retry."""
    for _ in range(10):
        row = await _delivery(server, state)

        async with asyncio.timeout(DEADLINE):
            cancelled, retried, claims = await asyncio.gather(
                steering.cancel(server, ADMIN, delivery_id=row.delivery_id),
                steering.retry(server, ADMIN, delivery_id=row.delivery_id),
                _claim(server),
                return_exceptions=True,
            )

        now = await rows.reload(server.database, row)
        assert isinstance(claims, Sequence)
        assert isinstance(cancelled, Delivery | FailedPrecondition)
        assert isinstance(retried, Delivery | FailedPrecondition)
        assert (now.state is DeliveryState.SENDING) == bool(claims)
        for claimed in claims:
            await _record(server, claimed.delivery, DEAD)
        if now.state is DeliveryState.PENDING:
            await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)


# Trying a channel out


async def test_a_channel_is_tried_whatever_it_takes(server: Server, channel: Channel, wakes: Wakes) -> None:
    closed = Schedule((DayOfWeek.MON,), "09:00", "10:00")
    await channels.set_schedule(server, ALICE, Kind.USER, channel_id=channel.channel_id, schedule=closed)
    await channels.set_subscription(server, ALICE, Kind.USER, channel_id=channel.channel_id, topics=[])

    made = await steering.try_channel(server, ALICE, channel_id=channel.channel_id)

    assert (made.state, made.channel_id, made.user_id) == (DeliveryState.PENDING, channel.channel_id, "alice")
    assert wakes.worker == 1
    [claimed] = await _claim(server)
    assert claimed.content is not None
    assert claimed.content.topic == "test"
    assert claimed.content.message == {"title": "A test of the channel mine"}
    record = await notifications.find(server, ADMIN, made.notification_id)
    assert record is not None
    async with server.database.read() as session:
        kept = (
            await session.exec(select(Notification).where(Notification.notification_id == made.notification_id))
        ).one()
    assert (record.user_id, record.project_id, kept.created_by) == (None, None, "alice")
    assert [decided["decision"] for decided in record.decisions] == ["SEND"]


@pytest.mark.parametrize("message", [{"title": "Hello"}, {}])
async def test_a_channel_is_tried_with_a_message_of_ones_own(
    server: Server, protocol: Protocol, message: dict[str, Any]
) -> None:
    channel = await outside(server, protocol)

    await steering.try_channel(server, ADMIN, channel_id=channel.channel_id, message=message)

    [claimed] = await _claim(server)
    assert claimed.content is not None
    assert claimed.content.message == message


async def test_what_is_disabled_is_not_tried(server: Server, channel: Channel, protocol: Protocol) -> None:
    off, on = ResourceState.DISABLED, ResourceState.ENABLED
    await channels.set_state(server, ALICE, Kind.USER, channel_id=channel.channel_id, state=off)
    with pytest.raises(FailedPrecondition, check=at("channelId")):
        await steering.try_channel(server, ALICE, channel_id=channel.channel_id)
    await channels.set_state(server, ALICE, Kind.USER, channel_id=channel.channel_id, state=on)
    await protocols.set_state(server, ADMIN, protocol_id=protocol.protocol_id, state=off)
    with pytest.raises(FailedPrecondition, check=at("channelId")):
        await steering.try_channel(server, ALICE, channel_id=channel.channel_id)

    assert await _count(server, Notification) == 0


async def test_an_internal_channel_is_not_tried(server: Server) -> None:
    channel = await inside(server, "alice")

    with pytest.raises(FailedPrecondition, check=at("channelId")):
        await steering.try_channel(server, ADMIN, channel_id=channel.channel_id)


async def test_a_user_tries_own_channels_only(server: Server, channel: Channel, protocol: Protocol) -> None:
    project = await outside(server, protocol)

    for caller, row in ((BOB, channel), (ALICE, project), (AWAY_ADMIN, channel), (AWAY_ADMIN, project)):
        with pytest.raises(NotFound, check=at("channelId")):
            await steering.try_channel(server, caller, channel_id=row.channel_id)
    for caller, row in ((ADMIN, channel), (ADMIN, project), (SYSTEM, project)):
        made = await steering.try_channel(server, caller, channel_id=row.channel_id)
        assert (made.channel_id, made.domain_id) == (row.channel_id, "home")


@pytest.mark.parametrize(
    ("refused", "field"),
    [
        (partial(steering.try_channel, channel_id="\0"), "channelId"),
        (partial(steering.try_channel, channel_id="c", message=["no object"]), "message"),
        (partial(steering.retry, delivery_id="\ud800"), "deliveryId"),
        (partial(steering.cancel, delivery_id=""), "deliveryId"),
        (partial(steering.replay, wanted=Filter(channel_id="\0"), since=SATURDAY_EVENING), "filter.channelId"),
    ],
)
async def test_what_no_row_could_have_is_refused(server: Server, refused: Any, field: str) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await refused(server, ADMIN)


# Watching


async def _next(stream: AsyncGenerator[Row, None]) -> Row:
    async with asyncio.timeout(DEADLINE):
        return await anext(stream)


async def _watching(server: Server, caller: Caller, **wanted: Any) -> AsyncGenerator[Row, None]:
    """A stream that has begun, and has been read up to now."""
    stream = deliveries.updated(server, caller, Filter(**wanted), domain_id=None)
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)  # as far as to its first wait
    assert not first.done()
    return _with(first, stream)


async def _with(first: asyncio.Future[Row], stream: AsyncGenerator[Row, None]) -> AsyncGenerator[Row, None]:
    try:
        yield await first
        async for row in stream:
            yield row
    finally:
        first.cancel()
        await stream.aclose()


async def test_every_change_that_commits_is_told(server: Server, channel: Channel) -> None:
    async with aclosing(await _watching(server, ADMIN)) as stream:
        said = await say(server)
        made = await _next(stream)
        assert (made.notification_id, made.state) == (said.notification_id, DeliveryState.PENDING)

        await steering.cancel(server, ADMIN, delivery_id=made.delivery_id)
        assert (await _next(stream)).state is DeliveryState.SKIPPED
        await steering.retry(server, ADMIN, delivery_id=made.delivery_id)
        assert (await _next(stream)).state is DeliveryState.PENDING
        tried = await steering.try_channel(server, ADMIN, channel_id=channel.channel_id)
        assert (await _next(stream)).delivery_id == tried.delivery_id
        await channels.delete(server, ADMIN, Kind.USER, channel_id=channel.channel_id)
        ended = [await _next(stream) for _ in range(2)]
        assert {row.reason for row in ended} == {DecisionReason.CHANNEL_DELETED}
        await _replay(server, states=[DeliveryState.SKIPPED])
        assert {(await _next(stream)).state for _ in range(2)} == {DeliveryState.PENDING}


async def test_a_user_watches_what_goes_through_own_channels(
    server: Server, channel: Channel, protocol: Protocol
) -> None:
    await of_user(server, BOB, protocol)
    await outside(server, protocol)

    async with aclosing(await _watching(server, ALICE)) as stream:
        for owner in ("p1", "bob", "alice"):
            kind = "identity.Project" if owner == "p1" else "identity.User"
            await say(server, owner, resource_type=kind)

        assert (await _next(stream)).channel_id == channel.channel_id


async def test_a_filter_is_met_by_what_a_delivery_is_by_then(server: Server, channel: Channel) -> None:
    dead = [DeliveryState.DEAD]
    async with aclosing(await _watching(server, ADMIN, states=dead)) as stream:
        row = await _delivery(server, DeliveryState.DEAD)
        await server.hub.publish_deliveries([row])  # as a worker does
        assert (await _next(stream)).delivery_id == row.delivery_id

    one, other = [await _delivery(server) for _ in range(2)]
    async with aclosing(await _watching(server, ADMIN, delivery_ids=[other.delivery_id])) as stream:
        await server.hub.publish_deliveries([one, other])
        assert (await _next(stream)).delivery_id == other.delivery_id


async def test_whoever_cannot_keep_up_is_told_to_list_again(server: Server, channel: Channel) -> None:
    row = await _delivery(server)
    async with aclosing(await _watching(server, ADMIN)) as stream:
        await server.hub.publish_deliveries([row])
        await _next(stream)
        server.hub.wake_deliveries({"home": [ids.new(ids.DELIVERY) for _ in range(MAX_UNREAD + 1)]})

        with pytest.raises(Unavailable):
            await _next(stream)


async def test_watching_ends_when_the_server_stops(server: Server) -> None:
    async with aclosing(await _watching(server, ADMIN)) as stream:
        await server.hub.close()

        with pytest.raises(Unavailable):
            await _next(stream)
    await server.hub.open()  # for the fixture, which closes it


async def test_another_domains_deliveries_cannot_be_watched(server: Server) -> None:
    for wanted, domain_id, error in (
        (Filter(), "away", PermissionDenied),
        (Filter(channel_id="\0"), None, InvalidArgument),
    ):
        with pytest.raises(error):
            await _next(deliveries.updated(server, ADMIN, wanted, domain_id=domain_id))
