"""Reading deliveries and what became of them: a user's own channels', a service's own, an administrator's domain's."""

from __future__ import annotations

from collections.abc import Collection

from resolvers import access, checks, paging
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.paging import Listing, Window
from storage import deliveries
from storage.deliveries import NEWEST_FIRST, Filter
from storage.models import Attempt, Delivery


async def find(server: Server, caller: Caller, delivery_id: str) -> Delivery | None:
    """None when there is no such delivery, or it is not the caller's to see."""
    checks.identifier(delivery_id, "deliveryId")
    async with server.database.read() as session:
        return await deliveries.find(session, delivery_id, access.scope_of_id(caller))


async def page(
    server: Server, caller: Caller, wanted: Filter, *, domain_id: str | None, window: Window
) -> Listing[Delivery]:
    """The deliveries that the caller may see, newest first."""
    scope, bounds = access.scope(caller, domain_id), paging.bounds(window, NEWEST_FIRST)
    _check(wanted)
    async with server.database.read() as session:
        rows = await deliveries.page(session, scope, wanted, bounds)

    async def count() -> int:
        async with server.database.read() as session:
            return await deliveries.count(session, scope, wanted)

    return Listing(rows, NEWEST_FIRST, count)


async def attempts(server: Server, delivery_ids: Collection[str]) -> dict[str, list[Attempt]]:
    """The attempts of deliveries that the caller was shown, by delivery, each oldest first."""
    async with server.database.read() as session:
        return await deliveries.attempts(session, delivery_ids)


def _check(wanted: Filter) -> None:
    """Raises InvalidArgument for ids that no row could have."""
    if wanted.delivery_ids is not None:
        checks.identifiers(list(wanted.delivery_ids), "filter.deliveryIds")
    ids = {
        "filter.notificationId": wanted.notification_id,
        "filter.channelId": wanted.channel_id,
        "filter.protocolId": wanted.protocol_id,
    }
    for field, value in ids.items():
        if value is not None:
            checks.identifier(value, field)
