"""Steering single deliveries: who may, from which state to which, and what of it comes through while workers work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from sqlmodel import select

from resolvers import channels, steering
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from storage import states
from storage.channels import Kind
from storage.deliveries import Filter
from storage.models import Channel, Content, DecisionReason, Delivery, DeliveryState, NotificationUsage, Protocol
from storage.verdicts import Verdict
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING
from tests.resolvers import steered
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.conftest import Wakes
from tests.resolvers.refusals import at
from tests.resolvers.said import outside, say

Steer = Callable[..., Awaitable[Delivery]]


# Retrying


@pytest.mark.parametrize("state", sorted(states.REVIVABLE))
async def test_what_failed_or_was_held_is_due_at_once_with_every_retry_ahead(
    server: Server, channel: Channel, wakes: Wakes, state: DeliveryState
) -> None:
    row = await steered.delivery(server, state)
    woken = wakes.worker

    retried = await steering.retry(server, ADMIN, delivery_id=row.delivery_id)

    assert (retried.delivery_id, retried.state) == (row.delivery_id, DeliveryState.PENDING)
    assert (retried.reason, retried.detail, retried.finished_at) == (None, None, None)
    assert retried.retries_from == retried.attempt_count == 1
    assert wakes.worker == woken + 1
    [claimed] = await steered.claim(server)
    assert claimed.delivery.delivery_id == row.delivery_id
    assert claimed.content is not None


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - states.REVIVABLE))
async def test_what_is_on_its_way_or_has_arrived_is_not_retried(
    server: Server, channel: Channel, state: DeliveryState
) -> None:
    row = await steered.delivery(server, state)

    with pytest.raises(FailedPrecondition, check=at("deliveryId")):
        await steering.retry(server, ADMIN, delivery_id=row.delivery_id)

    assert await rows.reload(server.database, row) == row


async def test_what_it_said_has_to_be_there_still(server: Server, channel: Channel) -> None:
    row = await steered.delivery(server, DeliveryState.DEAD)
    await steered.forget(server, row)
    await say(server, "bob")  # its content does not get the id of the one that is gone

    with pytest.raises(FailedPrecondition, check=at("deliveryId")):
        await steering.retry(server, ADMIN, delivery_id=row.delivery_id)

    assert (await rows.reload(server.database, row)).state is DeliveryState.DEAD


async def test_content_stays_for_what_is_being_retried(server: Server, channel: Channel) -> None:
    """Deleting and retrying at once: either the content stays, or there is no retry."""
    for _ in range(10):
        row = await steered.delivery(server, DeliveryState.DEAD)

        async with asyncio.timeout(steered.DEADLINE):
            retried, _ = await asyncio.gather(
                steering.retry(server, ADMIN, delivery_id=row.delivery_id),
                steered.forget(server, row),
                return_exceptions=True,
            )

        if isinstance(retried, Delivery):
            [claimed] = await steered.claim(server)
            assert claimed.content is not None
            await steered.record(server, claimed.delivery, steered.DEAD)
        else:
            assert isinstance(retried, FailedPrecondition)
    assert await steered.count(server, Content) == 0


# Cancelling


@pytest.mark.parametrize("state", sorted(states.WAITING))
async def test_what_waits_is_held_at_once(server: Server, channel: Channel, clock: Clock, state: DeliveryState) -> None:
    row = await steered.delivery(server, state)

    await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)

    held = await rows.reload(server.database, row)
    assert (held.state, held.reason) == (DeliveryState.SKIPPED, DecisionReason.CANCELLED)
    assert (held.next_attempt_at, held.finished_at) == (None, clock.now)
    assert not await steered.claim(server)


async def test_what_is_held_needs_its_content_no_longer(server: Server, channel: Channel) -> None:
    row = await steered.delivery(server)
    await steered.forget(server, row)
    assert await steered.count(server, Content) == 1

    await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)

    assert await steered.count(server, Content) == 0


@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [
        (steered.ENDS[DeliveryState.DELIVERED], DeliveryState.DELIVERED, None),
        (steered.RETRYING, DeliveryState.SKIPPED, DecisionReason.CANCELLED),
        (steered.DEAD, DeliveryState.DEAD, DecisionReason.REFUSED),
    ],
)
async def test_what_is_being_sent_may_arrive_but_is_not_tried_again(
    server: Server, channel: Channel, verdict: Verdict, state: DeliveryState, reason: DecisionReason | None
) -> None:
    await steered.delivery(server)
    [claimed] = await steered.claim(server)

    cancelled = await steering.cancel(server, ADMIN, delivery_id=claimed.delivery.delivery_id)
    assert cancelled.state is DeliveryState.SENDING
    await steered.record(server, claimed.delivery, verdict)

    row = await rows.reload(server.database, claimed.delivery)
    assert (row.state, row.reason) == (state, reason)


async def test_why_it_was_withdrawn_first_stays_the_reason(server: Server, channel: Channel) -> None:
    await steered.delivery(server)
    [claimed] = await steered.claim(server)
    await channels.delete(server, ALICE, Kind.USER, channel_id=channel.channel_id)

    cancelled = await steering.cancel(server, ADMIN, delivery_id=claimed.delivery.delivery_id)

    assert cancelled.reason is DecisionReason.CHANNEL_DELETED


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.SKIPPED])
async def test_what_is_finished_is_not_cancelled(server: Server, channel: Channel, state: DeliveryState) -> None:
    row = await steered.delivery(server, state)

    with pytest.raises(FailedPrecondition, check=at("deliveryId")):
        await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)

    assert await rows.reload(server.database, row) == row


async def test_what_is_held_after_a_try_gives_its_place_in_the_quota_back(server: Server, channel: Channel) -> None:
    cancelled = await steered.delivery(server, DeliveryState.RETRYING)
    await steered.delivery(server, DeliveryState.RETRYING)
    await steered.delivery(server, DeliveryState.DELIVERED)
    assert await _counted(server) == (3, 0)

    assert (await steering.cancel(server, ADMIN, delivery_id=cancelled.delivery_id)).counted_on is None
    assert await _counted(server) == (2, 0)
    await channels.delete(server, ADMIN, Kind.USER, channel_id=channel.channel_id)
    assert await _counted(server) == (1, 0)


async def test_what_is_retried_counts_once(server: Server, channel: Channel) -> None:
    row = await steered.delivery(server, DeliveryState.RETRYING)
    await steering.retry(server, ADMIN, delivery_id=row.delivery_id)
    [claimed] = await steered.claim(server)
    assert await _counted(server) == (1, 0)

    await steered.record(server, claimed.delivery, steered.DEAD)
    assert await _counted(server) == (0, 1)
    await steering.retry(server, ADMIN, delivery_id=row.delivery_id)
    await steered.claim(server)
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
    project = await steered.delivery(server, DeliveryState.RETRYING, resource_id="p1", resource_type="identity.Project")
    own = await steered.delivery(server, DeliveryState.RETRYING)

    assert (await steer(server, ALICE, delivery_id=own.delivery_id)).delivery_id == own.delivery_id
    for caller, row in ((ALICE, project), (BOB, own), (AWAY_ADMIN, own)):
        with pytest.raises(NotFound, check=at("deliveryId")):
            await steer(server, caller, delivery_id=row.delivery_id)
    assert (await steer(server, SYSTEM, delivery_id=project.delivery_id)).delivery_id == project.delivery_id


async def test_a_service_steers_nothing(server: Server, channel: Channel) -> None:
    row = await steered.delivery(server)

    for denied in (
        steering.retry(server, SERVICE, delivery_id=row.delivery_id),
        steering.cancel(server, SERVICE, delivery_id=row.delivery_id),
        steering.try_channel(server, SERVICE, channel_id=channel.channel_id),
        steering.replay(server, SERVICE, Filter(), since=SATURDAY_EVENING),
        steering.replay(server, ALICE, Filter(), since=SATURDAY_EVENING),
    ):
        with pytest.raises(PermissionDenied):
            await denied


@pytest.mark.parametrize("state", sorted(states.WAITING))
async def test_workers_and_callers_see_each_others_whole_change_or_none(
    server: Server, channel: Channel, state: DeliveryState
) -> None:
    """A worker claims while callers cancel and retry."""
    for _ in range(10):
        row = await steered.delivery(server, state)

        async with asyncio.timeout(steered.DEADLINE):
            cancelled, retried, claims = await asyncio.gather(
                steering.cancel(server, ADMIN, delivery_id=row.delivery_id),
                steering.retry(server, ADMIN, delivery_id=row.delivery_id),
                steered.claim(server),
                return_exceptions=True,
            )

        now = await rows.reload(server.database, row)
        assert isinstance(claims, Sequence)
        assert isinstance(cancelled, Delivery | FailedPrecondition)
        assert isinstance(retried, Delivery | FailedPrecondition)
        assert (now.state is DeliveryState.SENDING) == bool(claims)
        for claimed in claims:
            await steered.record(server, claimed.delivery, steered.DEAD)
        if now.state is DeliveryState.PENDING:
            await steering.cancel(server, ADMIN, delivery_id=row.delivery_id)


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
