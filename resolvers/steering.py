"""Steering deliveries: trying a channel out, sending again what did not arrive, and holding what is on its way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch import planner
from resolvers import access, announcements, checks, deliveries, fanout, transaction
from resolvers.access import Caller
from resolvers.announcements import Reached
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound
from resolvers.fanout import Saying
from storage import contents, routing, states, steering
from storage.contents import NewContent
from storage.deliveries import Filter
from storage.models import Delivery, DeliveryState, JsonObject, ProtocolType, ResourceState
from storage.routing import Route

TEST_TOPIC = "test"
MAX_REPLAYED = 1_000  # of one call: it is one transaction


async def try_channel(server: Server, caller: Caller, *, channel_id: str, message: Any = None) -> Delivery:
    """Send one message through a channel, whatever its schedule, topics and level are; its first recipient's delivery.

    The others' are made beside it.
    """
    access.require(caller, access.PEOPLE)
    checks.identifier(channel_id, "channelId")
    given = None if message is None else checks.json_object(message, "message")
    scope, now = access.scope_of_id(caller), server.clock()

    async def work(session: AsyncSession) -> Reached:
        route = _usable(await routing.of_channel(session, channel_id, scope))
        said = NewContent(route[0].domain_id, TEST_TOPIC, message=_greeting(route) if given is None else given)
        [content] = await contents.insert(session, [said])
        plan = [(route, planner.send(*route))]
        [reached] = await fanout.reach(session, [Saying(content, caller.user_id, now, record_plan=plan)])
        return reached

    reached = await transaction.write(server, caller, work)
    await announcements.announce(server, reached)
    return cast(Delivery, reached.deliveries[0])


async def retry(server: Server, caller: Caller, *, delivery_id: str) -> Delivery:
    """Send a delivery that failed, or was held, at once, with every retry ahead of it again."""
    access.require(caller, access.PEOPLE)
    checks.identifier(delivery_id, "deliveryId")

    async def work(session: AsyncSession) -> Delivery:
        row = await _lock(session, caller, delivery_id)
        _require_state(row, states.REVIVABLE, "tried again")
        revived = await steering.revive(session, [row])
        if not revived:
            raise FailedPrecondition("What this delivery said is gone.", field="deliveryId")
        return revived[0]

    row = await transaction.write(server, caller, work)
    await announcements.announce_deliveries(server, [row])
    return row


async def cancel(server: Server, caller: Caller, *, delivery_id: str) -> Delivery:
    """Hold a delivery. One that is being sent may still arrive, but is not tried again."""
    access.require(caller, access.PEOPLE)
    checks.identifier(delivery_id, "deliveryId")
    now = server.clock()

    async def work(session: AsyncSession) -> Delivery:
        row = await _lock(session, caller, delivery_id)
        _require_state(row, states.WAITING | {DeliveryState.SENDING}, "cancelled")
        await steering.withdraw(session, row, now=now)
        return row

    row = await transaction.write(server, caller, work)
    await server.hub.publish_deliveries([row])
    return row


async def replay(
    server: Server, caller: Caller, wanted: Filter, *, since: datetime, domain_id: str | None = None
) -> int:
    """Send MAX_REPLAYED that died `since` then again, or, where the filter says so, were held; how many."""
    access.require(caller, access.ADMINS)
    scope = access.scope(caller, domain_id)
    deliveries.check(wanted)
    ended = replace(wanted, states=_replayable(wanted.states))

    async def work(session: AsyncSession) -> list[Delivery]:
        rows = await steering.lock_ended(session, scope, ended, since=since, limit=MAX_REPLAYED)
        return await steering.revive(session, rows)

    revived = await transaction.write(server, caller, work)
    await announcements.announce_deliveries(server, revived)
    return len(revived)


async def _lock(session: AsyncSession, caller: Caller, delivery_id: str) -> Delivery:
    row = await steering.lock(session, delivery_id, access.scope_of_id(caller))
    if row is None:
        raise NotFound("There is no such delivery.", field="deliveryId")
    return row


def _require_state(row: Delivery, states: Collection[DeliveryState], what: str) -> None:
    if row.state not in states:
        raise FailedPrecondition(f"A delivery that is {row.state} cannot be {what}.", field="deliveryId")


def _replayable(asked: Collection[DeliveryState] | None) -> Collection[DeliveryState]:
    if asked is None:
        return {DeliveryState.DEAD}
    if not states.REPLAYABLE.issuperset(asked):
        raise InvalidArgument("Only DEAD and SKIPPED deliveries can be replayed.", field="filter.states")
    return asked


def _usable(route: Route | None) -> Route:
    if route is None:
        raise NotFound("There is no such channel.", field="channelId")
    channel, protocol = route
    if protocol.protocol_type is ProtocolType.INTERNAL:
        raise FailedPrecondition("An INTERNAL channel leads to inboxes: nothing is sent.", field="channelId")
    if ResourceState.DISABLED in (channel.state, protocol.state):
        raise FailedPrecondition("The channel, or its protocol, is disabled.", field="channelId")
    return route


def _greeting(route: Route) -> JsonObject:
    return {"title": f"A test of the channel {route[0].name}"}
