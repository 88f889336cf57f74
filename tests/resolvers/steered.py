"""Deliveries moved as a worker moves them, and steered, for the tests of that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlmodel import func, select

from resolvers import inboxes, notifications, steering
from resolvers.access import Caller
from resolvers.context import Server
from storage.deliveries import Filter
from storage.models import DecisionReason, Delivery, DeliveryState
from storage.queue import Claimed, Leased
from storage.verdicts import Verdict
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING
from tests.resolvers import working
from tests.resolvers.callers import ADMIN
from tests.resolvers.said import say

DEADLINE = 60
RETRYING = Verdict(DeliveryState.RETRYING, detail="500", delay=3600)
DEAD = Verdict(DeliveryState.DEAD, DecisionReason.REFUSED, "410")
HELD = Verdict(DeliveryState.SKIPPED, DecisionReason.OFF_HOURS, "Closed.")
ENDS = {
    DeliveryState.RETRYING: RETRYING,
    DeliveryState.DELIVERED: Verdict(DeliveryState.DELIVERED),
    DeliveryState.DEAD: DEAD,
    DeliveryState.SKIPPED: HELD,
}


async def claim(server: Server) -> Sequence[Claimed]:
    return await working.claim(server.database)


async def record(server: Server, delivery: Leased, verdict: Verdict, *, now: datetime = SATURDAY_EVENING) -> None:
    assert await working.record(server.database, delivery, verdict, now=now)


async def delivery(server: Server, state: DeliveryState = DeliveryState.PENDING, **creation: Any) -> Delivery:
    """A delivery to Alice in this state, moved there as a worker moves it."""
    said = await say(server, **creation)
    [made] = await notifications.deliveries_of(server, said.notification_id, first=10)
    if state is DeliveryState.PENDING:
        return made
    [claimed] = await claim(server)
    if state is not DeliveryState.SENDING:
        await record(server, claimed.delivery, ENDS[state])
    return await rows.reload(server.database, made)


async def forget(server: Server, delivery: Delivery) -> None:
    """Delete the notification: what it said goes with it, once no open delivery needs it."""
    await inboxes.delete(server, ADMIN, notification_ids=[delivery.notification_id], origin_id=None)


async def count(server: Server, table: type[Any]) -> int:
    async with server.database.read() as session:
        return (await session.exec(select(func.count()).select_from(table))).one()


async def replay(server: Server, caller: Caller = ADMIN, *, domain_id: str | None = None, **wanted: Any) -> int:
    since = wanted.pop("since", SATURDAY_EVENING)
    return await steering.replay(server, caller, Filter(**wanted), since=since, domain_id=domain_id)
