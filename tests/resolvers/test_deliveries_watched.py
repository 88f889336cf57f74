"""Watching deliveries: which changes are told, to whom, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from dispatch.hub import MAX_UNREAD
from resolvers import channels, deliveries, steering
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied, Unavailable
from storage import ids
from storage.channels import Kind
from storage.deliveries import Filter
from storage.models import Channel, DecisionReason, DeliveryState, Protocol
from storage.selected import Row
from tests.resolvers import steered
from tests.resolvers.callers import ADMIN, ALICE, BOB
from tests.resolvers.said import of_user, outside, say


async def _next(stream: AsyncGenerator[Row, None]) -> Row:
    async with asyncio.timeout(steered.DEADLINE):
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
        await steered.replay(server, states=[DeliveryState.SKIPPED])
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
        row = await steered.delivery(server, DeliveryState.DEAD)
        await server.hub.publish_deliveries([row])  # as a worker does
        assert (await _next(stream)).delivery_id == row.delivery_id

    one, other = [await steered.delivery(server) for _ in range(2)]
    async with aclosing(await _watching(server, ADMIN, delivery_ids=[other.delivery_id])) as stream:
        await server.hub.publish_deliveries([one, other])
        assert (await _next(stream)).delivery_id == other.delivery_id


async def test_whoever_cannot_keep_up_is_told_to_list_again(server: Server, channel: Channel) -> None:
    row = await steered.delivery(server)
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
