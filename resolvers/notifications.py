"""Saying what happened, and reading what was said.

How creates are written, `resolvers.creates` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from resolvers import access, checks, creates, idempotency, inboxes, paging
from resolvers.access import Caller
from resolvers.asking import NOTHING, Asking, listing
from resolvers.context import Server
from resolvers.creates import Call
from resolvers.errors import InvalidArgument, Refused
from resolvers.inboxes import InboxState
from resolvers.once import Said
from resolvers.paging import Listing, Window
from storage import deliveries, notification_filters, notification_lists, notifications
from storage.contents import NewContent
from storage.models import (
    Delivery,
    Notification,
    NotificationLevel,
    NotificationType,
)
from storage.notification_filters import NEWEST_FIRST, Filter
from storage.notification_lists import InScope
from storage.notifications import NotificationRow
from storage.paging import Bounds, Order, Page
from storage.scope import Scope
from storage.selected import ALL, Row, Selected

MAX_CREATES = 100  # of one createNotifications


class OrderDirection(StrEnum):
    ASC = "ASC"
    DESC = "DESC"


class NotificationOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"
    TOPIC = "TOPIC"
    TYPE = "TYPE"
    LEVEL = "LEVEL"


SORT_KEYS = {
    (key.name, way): replace(key, descending=way is OrderDirection.DESC)
    for key in (*NEWEST_FIRST, notification_filters.TOPIC, notification_filters.TYPE, notification_filters.LEVEL)
    for way in OrderDirection
}


@dataclass(frozen=True)
class Creation:
    """What a caller says happened, to whom."""

    resource_type: str
    resource_id: str
    topic: str
    message: Any
    notification_type: NotificationType = NotificationType.INFO
    notification_level: NotificationLevel = NotificationLevel.ALL
    domain_id: str | None = None
    idempotency_key: str | None = None


async def create(server: Server, caller: Caller, creation: Creation) -> Said:
    """Say what happened to a project, a user or a domain. The same idempotency key gets the same answer."""
    domain_id, now = check(caller, creation), server.clock()
    key = creation.idempotency_key
    claim = idempotency.claim_for(caller, "createNotification", domain_id, key, vars(creation), now)
    call = Call(caller, content_of(creation, domain_id), now, claim)
    said: Said = await server.creates.join(call, partial(creates.say, server), weight=call.weight)
    return said


def check(caller: Caller, creation: Creation) -> str:
    """The domain in which the caller may create this. Raises PermissionDenied, InvalidArgument."""
    access.require(caller, access.SENDERS)
    domain_id = _domain(caller, creation)
    if creation.resource_type not in creates.RESOURCE_TYPES:
        raise InvalidArgument(
            f"A notification is for one of {', '.join(sorted(creates.RESOURCE_TYPES))}.", field="resourceType"
        )
    checks.identifier(creation.resource_id, "resourceId")
    checks.text(creation.topic, "topic")
    checks.json_object(creation.message, "message")
    if creation.idempotency_key is not None:
        checks.text(creation.idempotency_key, "idempotencyKey")
    return domain_id


def content_of(creation: Creation, domain_id: str) -> NewContent:
    return NewContent(
        domain_id,
        creation.topic,
        message=creation.message,
        notification_type=creation.notification_type,
        notification_level=creation.notification_level,
        resource_type=creation.resource_type,
        resource_id=creation.resource_id,
    )


async def create_many(server: Server, caller: Caller, creations: Sequence[Creation]) -> list[Said | Refused]:
    """Each its own create with its own outcome, in order. Raises InvalidArgument for more than MAX_CREATES."""
    access.require(caller, access.SENDERS)
    if len(creations) > MAX_CREATES:
        raise InvalidArgument(f"One call may create {MAX_CREATES} at most.", field="inputs")
    # They join the waiting ones in their order, and share transactions.
    return await asyncio.gather(*(_outcome(server, caller, creation) for creation in creations))


async def find(
    server: Server, caller: Caller, notification_id: str, *, selected: Selected = ALL
) -> NotificationRow | None:
    """None when there is no such notification, or it is not the caller's to see."""
    checks.identifier(notification_id, "notificationId")
    return await notifications.find_kept(server.database, notification_id, access.scope_of_id(caller), selected)


async def find_all(server: Server, caller: Caller, notification_ids: Collection[str]) -> dict[str, Notification]:
    """Those of these that the caller may see, by their ids."""
    async with server.database.read() as session:
        rows = await notifications.find_all(session, notification_ids, access.scope_of_id(caller))
    return {row.notification_id: row for row in rows}


def page(
    server: Server,
    caller: Caller,
    wanted: Filter,
    *,
    domain_id: str | None,
    order_by: Sequence[tuple[NotificationOrderField, OrderDirection]],
    window: Window,
    asking: Asking = NOTHING,
    selected: Selected = ALL,
) -> Awaitable[Listing[NotificationRow]]:
    """The caller's notifications: a user's own, a service's own records, an administrator's whole domain."""
    scope = _scope(caller, wanted, domain_id)
    if order_by and asking.sort:
        raise InvalidArgument("Order by one or by the other, not by both.", field="orderBy")

    def kept(asked: Filter, order: Order, bounds: Bounds) -> Awaitable[Page[NotificationRow]]:
        return notification_lists.page_kept(server.database, scope, asked, order, bounds, selected)

    return listing(
        server,
        asking,
        window,
        InScope(scope, _order(order_by)),
        wanted,
        selected=selected,
        kept=kept if asking.is_keyword else None,
    )


async def inbox_of(server: Server, caller: Caller, wanted: Filter, domain_id: str | None) -> InboxState | None:
    """The inbox that such a list is of; None unless it is one user's.

    To be read before the list: then what comes after its cursor is all that the list may lack.
    """
    _scope(caller, wanted, domain_id)
    owner = inboxes.scoped_to(caller, user_id=wanted.user_id, domain_id=domain_id)
    return None if owner is None else await inboxes.of(server, owner)


async def rows_of(server: Server, said: Said, *, first: int | None) -> Sequence[Notification | Row]:
    """The inbox rows that a create led to, as they are now."""
    if said.notification is None or said.notification.user_id is not None:
        return [said.notification] if said.notification else []
    wanted = Filter(parent_notification_id=said.notification_id)
    window = paging.bounds(Window(first=first), NEWEST_FIRST)
    async with server.database.read() as session:
        return (await InScope(Scope(None)).page(session, wanted, window)).rows


async def deliveries_of(server: Server, notification_id: str, *, first: int | None) -> list[Delivery]:
    """The deliveries of a record or an inbox row and of its children, oldest first."""
    limit = paging.bounds(Window(first=first), NEWEST_FIRST).limit
    async with server.database.read() as session:
        return await deliveries.of_create(session, notification_id, limit=limit)


async def _outcome(server: Server, caller: Caller, creation: Creation) -> Said | Refused:
    try:
        return await create(server, caller, creation)
    except Refused as refusal:
        return refusal


def _domain(caller: Caller, creation: Creation) -> str:
    if creation.resource_type != "identity.Domain":
        return access.domain_of(caller, creation.domain_id)
    if creation.domain_id is not None and creation.domain_id != creation.resource_id:
        raise InvalidArgument("The domain addressed is not the domain named.", field="resourceId")
    return access.domain_of(caller, creation.resource_id)


def _scope(caller: Caller, wanted: Filter, domain_id: str | None) -> Scope:
    """Where the rows are that a list is to show. Raises PermissionDenied, InvalidArgument."""
    scope = access.scope(caller, domain_id)
    _check_filter(wanted)
    return scope


def _check_filter(wanted: Filter) -> None:
    if wanted.notification_ids is not None:
        checks.identifiers(wanted.notification_ids, "filter.notificationIds", longest=checks.MAX_NAME_LENGTH)
    if wanted.topics is not None:
        checks.identifiers(wanted.topics, "filter.topics", longest=checks.MAX_NAME_LENGTH)
    ids = {
        "filter.parentNotificationId": wanted.parent_notification_id,
        "filter.projectId": wanted.project_id,
        "filter.userId": wanted.user_id,
    }
    checks.given(checks.identifier, ids)


def _order(order_by: Sequence[tuple[NotificationOrderField, OrderDirection]]) -> Order:
    if not order_by:
        return NEWEST_FIRST
    if len({field for field, _ in order_by}) < len(order_by):
        raise InvalidArgument("A field can be ordered by once.", field="orderBy")
    return (*(SORT_KEYS[key] for key in order_by), SORT_KEYS[notification_filters.ID.name, order_by[-1][1]])
