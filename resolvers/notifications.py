"""Saying what happened, and reading what was said.

A create writes content, rows, counts, changes and deliveries in one transaction, and tells nobody before its commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access, checks, fanout, idempotency, once, paging, records
from resolvers.access import Caller
from resolvers.asking import NOTHING, Asking, listing
from resolvers.context import Server
from resolvers.errors import InvalidArgument, Refused
from resolvers.fanout import CHUNK, Reached, Saying
from resolvers.once import Said
from resolvers.paging import Listing, Window
from storage import deliveries, fanouts, fields, ids, inboxes, notifications, routing
from storage.models import (
    Content,
    Delivery,
    Fanout,
    Notification,
    NotificationLevel,
    NotificationType,
)
from storage.notifications import Filter
from storage.paging import Order
from storage.scope import Scope
from storage.sorting import Sort

MAX_CREATES = 100  # of one createNotifications: each is a transaction of its own


class OrderDirection(StrEnum):
    ASC = "ASC"
    DESC = "DESC"


class NotificationOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"
    TOPIC = "TOPIC"
    TYPE = "TYPE"
    LEVEL = "LEVEL"


NEWEST_FIRST = (notifications.CREATED_AT, notifications.ID)
SORT_KEYS = {key.name: key for key in (*NEWEST_FIRST, notifications.TOPIC, notifications.TYPE, notifications.LEVEL)}


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
    domain_id = check(caller, creation)
    now = server.clock()

    async def work(session: AsyncSession) -> tuple[Said, Reached]:
        content = content_of(creation, domain_id)
        session.add(content)
        await session.flush()
        return await _SAY_TO[creation.resource_type](session, content, caller.user_id, now)

    key, body = creation.idempotency_key, asdict(creation)
    claim = idempotency.claim_for(caller, "createNotification", domain_id, key, body, now)
    return await once.say(server, caller, work, claim=claim)


def check(caller: Caller, creation: Creation) -> str:
    """The domain in which the caller may create this. Raises PermissionDenied, InvalidArgument."""
    access.require(caller, access.SENDERS)
    domain_id = _domain(caller, creation)
    if creation.resource_type not in _SAY_TO:
        raise InvalidArgument(f"A notification is for one of {', '.join(sorted(_SAY_TO))}.", field="resourceType")
    checks.identifier(creation.resource_id, "resourceId")
    checks.text(creation.topic, "topic")
    checks.json_object(creation.message, "message")
    if creation.idempotency_key is not None:
        checks.text(creation.idempotency_key, "idempotencyKey")
    return domain_id


def content_of(creation: Creation, domain_id: str) -> Content:
    return records.content(
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
    return [await _outcome(server, caller, creation) for creation in creations]


async def find(server: Server, caller: Caller, notification_id: str) -> Notification | None:
    """None when there is no such notification, or it is not the caller's to see."""
    checks.identifier(notification_id, "notificationId")
    async with server.database.read() as session:
        return await notifications.find(session, notification_id, access.scope_of_id(caller))


async def page(
    server: Server,
    caller: Caller,
    wanted: Filter,
    *,
    domain_id: str | None,
    order_by: Sequence[tuple[NotificationOrderField, OrderDirection]],
    window: Window,
    asking: Asking = NOTHING,
) -> Listing[Notification]:
    """The caller's notifications: a user's own, a service's own records, an administrator's whole domain."""
    scope = access.scope(caller, domain_id)
    _check_filter(wanted)
    return await listing(
        server,
        asking,
        window,
        fields.NOTIFICATION,
        order=lambda sort: _order(order_by, sort),
        page=lambda session, question, order, bounds: notifications.page(
            session, scope, replace(wanted, question=question), order, bounds
        ),
        count=lambda session, question: notifications.count(session, scope, replace(wanted, question=question)),
    )


async def rows_of(server: Server, said: Said, *, first: int | None) -> list[Notification]:
    """The inbox rows that a create led to, as they are now."""
    if said.notification is None or said.notification.user_id is not None:
        return [said.notification] if said.notification else []
    wanted = Filter(parent_notification_id=said.notification_id)
    window = paging.bounds(Window(first=first), NEWEST_FIRST)
    async with server.database.read() as session:
        return (await notifications.page(session, Scope(None), wanted, NEWEST_FIRST, window)).rows


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


async def _to_user(session: AsyncSession, content: Content, created_by: str, now: datetime) -> tuple[Said, Reached]:
    saying = Saying(content, project_id=None, record_id=None, created_by=created_by, now=now)
    reached = await fanout.reach(session, saying, [content.resource_id or ""])
    row = reached.notifications[0]
    return Said(row, row.notification_id, 1, len(reached.deliveries)), reached


async def _to_project(session: AsyncSession, content: Content, created_by: str, now: datetime) -> tuple[Said, Reached]:
    project_id = content.resource_id or ""
    saying = Saying(content, project_id, ids.new(ids.NOTIFICATION), created_by, now)
    routes = await routing.of_project(session, content.domain_id, project_id)
    plan = await fanout.plan(session, content, routes, now)
    users = fanout.users_behind(plan)
    at_once = users if len(users) <= CHUNK else []
    reached = await fanout.reach(session, saying, at_once, project_id=project_id, beside=plan)
    record = reached.notifications[0]
    of_record = fanout.deliver(record, plan)
    await deliveries.enqueue(session, of_record)
    waiting = fanout.users_behind_later(plan)
    if len(users) > CHUNK:
        waiting[now] = users
    for due_at, later in waiting.items():
        await fanouts.start(session, _fanout(record, due_at=due_at), later)
    made = [*of_record, *reached.deliveries]
    recipients = len(at_once) + sum(map(len, waiting.values()))
    said = Said(record, record.notification_id, recipients, len(made))
    return said, Reached(reached.notifications, reached.heads, made)


async def _to_domain(session: AsyncSession, content: Content, created_by: str, now: datetime) -> tuple[Said, Reached]:
    record = records.record(content, created_by=created_by, now=now)
    users = await inboxes.known_users(session, content.domain_id, limit=CHUNK + 1)
    reached, recipients = Reached(), len(users)
    if recipients <= CHUNK:
        saying = Saying(content, None, record.notification_id, created_by, now)
        reached = await fanout.reach(session, saying, users)
    session.add(record)
    await session.flush()
    if recipients > CHUNK:
        recipients = await fanouts.start_for_domain(session, _fanout(record, due_at=now))
    said = Said(record, record.notification_id, recipients, len(reached.deliveries))
    return said, replace(reached, notifications=[record, *reached.notifications])


_SAY_TO = {"identity.User": _to_user, "identity.Project": _to_project, "identity.Domain": _to_domain}


def _domain(caller: Caller, creation: Creation) -> str:
    if creation.resource_type != "identity.Domain":
        return access.domain_of(caller, creation.domain_id)
    if creation.domain_id is not None and creation.domain_id != creation.resource_id:
        raise InvalidArgument("The domain addressed is not the domain named.", field="resourceId")
    return access.domain_of(caller, creation.resource_id)


def _fanout(record: Notification, *, due_at: datetime) -> Fanout:
    return Fanout(
        record_id=record.notification_id,
        domain_id=record.domain_id,
        content_id=record.content.content_id,
        project_id=record.project_id,
        created_by=record.created_by,
        due_at=due_at,
    )


def _check_filter(wanted: Filter) -> None:
    for field, values in (("notificationIds", wanted.notification_ids), ("topics", wanted.topics)):
        checks.identifiers(values or [], f"filter.{field}", longest=checks.MAX_NAME_LENGTH)
    for field, value in (
        ("parentNotificationId", wanted.parent_notification_id),
        ("projectId", wanted.project_id),
        ("userId", wanted.user_id),
    ):
        if value is not None:
            checks.identifier(value, f"filter.{field}")


def _order(order_by: Sequence[tuple[NotificationOrderField, OrderDirection]], sort: Sequence[Sort]) -> Order:
    if sort:
        order = notifications.order(sort)
        if order_by:
            raise InvalidArgument("Order by one or by the other, not by both.", field="orderBy")
        return order
    if len({field for field, _ in order_by}) < len(order_by):
        raise InvalidArgument("A field can be ordered by once.", field="orderBy")
    if not order_by:
        return NEWEST_FIRST
    keys = [replace(SORT_KEYS[field], descending=way is OrderDirection.DESC) for field, way in order_by]
    return [*keys, replace(notifications.ID, descending=keys[-1].descending)]
