"""Saying what happened, and reading what was said.

A create writes content, rows, counts, changes and deliveries in one transaction, and tells nobody before its commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access, channel_data, checks, fanout, idempotency, paging, records, transaction
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound, Refused
from resolvers.fanout import CHUNK, Reached, Saying
from resolvers.paging import Listing, Window
from storage import deliveries, fanouts, ids, inboxes, notifications, protocols, routing
from storage import idempotency as idempotency_keys
from storage.models import (
    Content,
    Delivery,
    Fanout,
    Notification,
    NotificationLevel,
    NotificationType,
    Protocol,
    ProtocolType,
    ResourceState,
)
from storage.notifications import Filter
from storage.paging import Order
from storage.scope import Scope

MAX_CREATES = 100  # of one createNotifications: each is a transaction of its own
PUSH_TOPIC = "push"  # of a push that names none


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


@dataclass(frozen=True)
class Push:
    """One message, straight through one protocol."""

    protocol_id: str
    data: Any
    message: Any
    topic: str | None = None
    notification_type: NotificationType = NotificationType.INFO
    notification_level: NotificationLevel = NotificationLevel.ALL
    domain_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Said:
    """What a create or a push led to."""

    notification: Notification | None  # the record, or the one inbox row; None on a replay after it was deleted
    notification_id: str
    recipient_count: int
    delivery_count: int
    replayed: bool = False


@dataclass(frozen=True)
class Pushed:
    record: Notification
    delivery: Delivery
    replayed: bool


Say = Callable[[AsyncSession], Awaitable[tuple[Said, Reached]]]


async def create(server: Server, caller: Caller, creation: Creation) -> Said:
    """Say what happened to a project, a user or a domain. The same idempotency key gets the same answer."""
    domain_id = check(caller, creation)
    now = server.clock()

    async def work(session: AsyncSession) -> tuple[Said, Reached]:
        content = content_of(creation, domain_id)
        session.add(content)
        await session.flush()
        return await _SAY_TO[creation.resource_type](session, content, caller.user_id, now)

    return await _once(server, caller, "createNotification", domain_id, creation, work, now)


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


async def push(server: Server, caller: Caller, wanted: Push) -> Pushed:
    """Send one message through a protocol, to an address that the call gives; a record is kept."""
    access.require(caller, access.SENDERS)
    domain_id = access.domain_of(caller, wanted.domain_id)
    topic = PUSH_TOPIC if wanted.topic is None else checks.text(wanted.topic, "topic")
    checks.json_object(wanted.message, "message")
    protocol_id = checks.identifier(wanted.protocol_id, "protocolId")
    protocol = await _pushable(server, Scope(domain_id), protocol_id)
    address = await channel_data.check(server, protocol, wanted.data)
    now = server.clock()

    async def work(session: AsyncSession) -> tuple[Said, Reached]:
        content = records.content(
            domain_id,
            topic,
            message=wanted.message,
            notification_type=wanted.notification_type,
            notification_level=wanted.notification_level,
        )
        record = records.record(content, created_by=caller.user_id, now=now)
        session.add(record)
        await session.flush()
        delivery = _push_delivery(record, protocol, server.vault.seal(wanted.data), address.destination)
        await deliveries.enqueue(session, [delivery])
        return Said(record, record.notification_id, 0, 1), Reached([record], deliveries=[delivery])

    said = await _once(server, caller, "pushNotification", domain_id, wanted, work, now)
    if said.notification is None:
        raise NotFound("What this key pushed has been deleted since.", field="idempotencyKey")
    [delivery] = await deliveries_of(server, said.notification_id, first=1)
    return Pushed(said.notification, delivery, said.replayed)


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
) -> Listing[Notification]:
    """The caller's notifications: a user's own, a service's own records, an administrator's whole domain."""
    scope = access.scope(caller, domain_id)
    order = _order(order_by)
    _check_filter(wanted)
    async with server.database.read() as session:
        rows = await notifications.page(session, scope, wanted, order, paging.bounds(window, order))

    async def count() -> int:
        async with server.database.read() as session:
            return await notifications.count(session, scope, wanted)

    return Listing(rows, order, count)


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


async def _once(
    server: Server, caller: Caller, operation: str, domain_id: str, body: Creation | Push, say: Say, now: datetime
) -> Said:
    """Say it, unless the call's key says that it was said before; then announce what was committed."""
    claim = idempotency.claim_for(caller, operation, domain_id, body.idempotency_key, asdict(body), now)

    async def work(session: AsyncSession) -> tuple[Said, Reached]:
        if claim is None:
            return await say(session)
        if taken := await idempotency_keys.claim(session, claim):
            return await _said_before(session, idempotency.first_answer(taken, claim)), Reached()
        said, reached = await say(session)
        await idempotency_keys.answer(session, claim, _answer(said))
        return said, reached

    said, reached = await transaction.write(server, caller, work)
    await fanout.announce(server, reached)
    if said.recipient_count > CHUNK:
        server.wake_fanout()
    return said


def _answer(said: Said) -> dict[str, object]:
    counts = {"recipient_count": said.recipient_count, "delivery_count": said.delivery_count}
    return {"notification_id": said.notification_id, **counts}


async def _said_before(session: AsyncSession, answer: dict[str, Any]) -> Said:
    row = await notifications.find(session, answer["notification_id"], Scope(None))
    return Said(notification=row, replayed=True, **answer)


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
    return Said(record, record.notification_id, recipients, len(reached.deliveries)), reached


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


async def _pushable(server: Server, scope: Scope, protocol_id: str) -> Protocol:
    async with server.database.read() as session:
        protocol = await protocols.find(session, protocol_id, scope)
    if protocol is None:
        raise NotFound("There is no such protocol.", field="protocolId")
    if protocol.protocol_type is ProtocolType.INTERNAL:
        raise InvalidArgument("Push goes through an EXTERNAL protocol.", field="protocolId")
    if protocol.state is ResourceState.DISABLED:
        raise FailedPrecondition("This protocol is disabled.", field="protocolId")
    return protocol


def _push_delivery(record: Notification, protocol: Protocol, sealed_data: bytes, destination: str | None) -> Delivery:
    return Delivery(
        delivery_id=ids.new(ids.DELIVERY),
        domain_id=record.domain_id,
        notification_id=record.notification_id,
        content_id=record.content.content_id,
        protocol_id=protocol.protocol_id,
        plugin_id=protocol.plugin_id or "",
        push_data=sealed_data,
        destination=destination or "",
        next_attempt_at=record.created_at,
        created_by=record.created_by,
        created_at=record.created_at,
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


def _order(order_by: Sequence[tuple[NotificationOrderField, OrderDirection]]) -> Order:
    if len({field for field, _ in order_by}) < len(order_by):
        raise InvalidArgument("A field can be ordered by once.", field="orderBy")
    if not order_by:
        return NEWEST_FIRST
    keys = [replace(SORT_KEYS[field], descending=way is OrderDirection.DESC) for field, way in order_by]
    return [*keys, replace(notifications.ID, descending=keys[-1].descending)]
