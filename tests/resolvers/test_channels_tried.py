"""Trying a channel out: what is sent, through which, and by whom."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from dispatch.schedules import Schedule
from resolvers import channels, notifications, protocols, steering
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, NotFound
from storage.channels import Kind
from storage.models import Channel, DayOfWeek, DeliveryState, Notification, Protocol, ResourceState
from tests.resolvers import steered
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SYSTEM
from tests.resolvers.conftest import Wakes
from tests.resolvers.refusals import at
from tests.resolvers.said import inside, outside


async def test_a_channel_is_tried_whatever_it_takes(server: Server, channel: Channel, wakes: Wakes) -> None:
    closed = Schedule((DayOfWeek.MON,), "09:00", "10:00")
    await channels.set_schedule(server, ALICE, Kind.USER, channel_id=channel.channel_id, schedule=closed)
    await channels.set_subscription(server, ALICE, Kind.USER, channel_id=channel.channel_id, topics=[])

    made = await steering.try_channel(server, ALICE, channel_id=channel.channel_id)

    assert (made.state, made.channel_id, made.user_id) == (DeliveryState.PENDING, channel.channel_id, "alice")
    assert wakes.worker == 1
    [claimed] = await steered.claim(server)
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

    [claimed] = await steered.claim(server)
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

    assert await steered.count(server, Notification) == 0


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
