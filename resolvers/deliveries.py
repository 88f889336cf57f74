"""Reading and watching deliveries: a user's own channels', a service's own, an administrator's domain's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Collection, Sequence
from dataclasses import replace

from dispatch.hub import DeliveryWatch, FellBehind, HubClosed
from resolvers import access, checks
from resolvers.access import Caller
from resolvers.asking import NOTHING, Asking, listing
from resolvers.context import Server
from resolvers.errors import InvalidArgument, Unavailable
from resolvers.paging import Listing, Window
from storage import deliveries
from storage.deliveries import Filter
from storage.models import Attempt, DeliveryState
from storage.paging import Bounds, Order, Page
from storage.scope import Scope
from storage.selected import ALL, Row, Selected

BATCH = 100  # deliveries that a stream reads at once


async def find(server: Server, caller: Caller, delivery_id: str, *, selected: Selected = ALL) -> Row | None:
    """None when there is no such delivery, or it is not the caller's to see."""
    checks.identifier(delivery_id, "deliveryId")
    return await deliveries.find_kept(server.database, delivery_id, access.scope_of_id(caller), selected)


async def page(
    server: Server,
    caller: Caller,
    wanted: Filter,
    *,
    domain_id: str | None,
    window: Window,
    asking: Asking = NOTHING,
    selected: Selected = ALL,
) -> Listing[Row]:
    """The deliveries that the caller may see, newest first."""
    scope = access.scope(caller, domain_id)
    check(wanted)

    def kept(asked: Filter, _order: Order, bounds: Bounds) -> Awaitable[Page[Row]]:
        return deliveries.page_kept(server.database, scope, asked, bounds, selected=selected)

    return await listing(
        server,
        asking,
        window,
        deliveries.in_scope(scope),
        wanted,
        selected=selected,
        kept=kept if asking.is_plain else None,
    )


async def attempts(server: Server, delivery_ids: Collection[str]) -> dict[str, list[Attempt]]:
    """The attempts of deliveries that the caller was shown, by delivery, each oldest first."""
    async with server.database.read() as session:
        return await deliveries.attempts(session, delivery_ids)


async def updated(
    server: Server, caller: Caller, wanted: Filter, *, domain_id: str | None
) -> AsyncGenerator[Row, None]:
    """The deliveries that the caller may see, as each is made or changes: as it is when it is read, so that states
    which pass quickly may be left out, and what is left of them may come twice.

    Raises Unavailable when the stream cannot keep up, or the server stops.
    """
    scope = access.scope(caller, domain_id)
    check(wanted)
    with server.hub.watch_deliveries(scope.domain_id or caller.domain_id) as watch:
        while True:
            for row in await _read(server, scope, wanted, await _changed(watch)):
                yield row


async def _changed(watch: DeliveryWatch) -> list[str]:
    try:
        return await watch.changed(BATCH)
    except HubClosed as error:
        raise Unavailable("The server is stopping: list the deliveries, and subscribe anew.") from error
    except FellBehind as error:
        raise Unavailable("Changes of deliveries were missed: list them, and subscribe anew.") from error


async def _read(server: Server, scope: Scope, wanted: Filter, changed: Sequence[str]) -> list[Row]:
    """Those of the changed deliveries that are wanted, in the order of their change."""
    among = [each for each in changed if wanted.delivery_ids is None or each in wanted.delivery_ids]
    if not among:
        return []
    async with server.database.read() as session:
        mine = deliveries.in_scope(scope)
        page = await mine.page(session, replace(wanted, delivery_ids=among), Bounds(limit=len(among)))
    return sorted(page.rows, key=lambda row: among.index(row.delivery_id))


def check(wanted: Filter) -> None:
    """Raises InvalidArgument for ids that no row could have."""
    if wanted.delivery_ids is not None:
        checks.identifiers(list(wanted.delivery_ids), "filter.deliveryIds")
    if wanted.states is not None and len(wanted.states) > len(DeliveryState):
        raise InvalidArgument("This may name each state once.", field="filter.states")
    ids = {
        "filter.notificationId": wanted.notification_id,
        "filter.channelId": wanted.channel_id,
        "filter.protocolId": wanted.protocol_id,
    }
    checks.given(checks.identifier, ids)
