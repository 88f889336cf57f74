"""Pushing: one message, straight through one protocol, to an address that the call gives. A record of it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access, channel_data, checks, fanout, idempotency, notifications, once
from resolvers.access import Caller
from resolvers.announcements import Reached
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound
from resolvers.fanout import Saying
from resolvers.once import Said
from storage import contents, deliveries, ids, protocols
from storage.contents import NewContent
from storage.creations import NewNotification
from storage.deliveries import NewDelivery
from storage.idempotency import Claim
from storage.models import (
    Delivery,
    Notification,
    NotificationLevel,
    NotificationType,
    Protocol,
    ProtocolType,
    ResourceState,
)
from storage.scope import Scope

DEFAULT_TOPIC = "push"  # of a push that names none


@dataclass(frozen=True)
class Push:
    protocol_id: str
    data: Any
    message: Any
    topic: str | None = None
    notification_type: NotificationType = NotificationType.INFO
    notification_level: NotificationLevel = NotificationLevel.ALL
    domain_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Pushed:
    record: Notification
    delivery: Delivery  # the first recipient's, where the data names several
    replayed: bool


async def push(server: Server, caller: Caller, wanted: Push) -> Pushed:
    """Send it, and keep a record. The same idempotency key gets the same answer, whatever became of the protocol."""
    access.require(caller, access.SENDERS)
    domain_id = access.domain_of(caller, wanted.domain_id)
    _check(wanted)
    now = server.clock()
    claim = idempotency.claim_for(caller, "pushNotification", domain_id, wanted.idempotency_key, vars(wanted), now)
    said = await once.said_before(server, claim)
    if said is None:
        said = await _send(server, caller, wanted, domain_id=domain_id, claim=claim, now=now)
    if said.notification is None:
        raise NotFound("What this key pushed has been deleted since.", field="idempotencyKey")
    [delivery] = await notifications.deliveries_of(server, said.notification_id, first=1)
    return Pushed(said.notification, delivery, said.replayed)


def _check(wanted: Push) -> None:
    if wanted.topic is not None:
        checks.text(wanted.topic, "topic")
    checks.json_object(wanted.message, "message")
    checks.json_object(wanted.data, "data")
    checks.identifier(wanted.protocol_id, "protocolId")


async def _send(
    server: Server, caller: Caller, wanted: Push, *, domain_id: str, claim: Claim | None, now: datetime
) -> Said:
    # The plugin is asked before the transaction, never within it: it may take its time.
    protocol = await _pushable(server, Scope(domain_id), wanted.protocol_id)
    address = await channel_data.check(server, protocol, wanted.data)

    async def work(session: AsyncSession) -> tuple[Said, Reached]:
        [content] = await contents.insert(session, [_content(wanted, domain_id)])
        [reached] = await fanout.reach(session, [Saying(content, caller.user_id, now, record_plan=())])
        [record] = reached.notifications
        sealed = server.vault.seal(wanted.data)
        made = [_delivery(record, protocol, sealed, address.destination, part) for part in range(address.part_count)]
        await deliveries.enqueue(session, made)
        return once.said(record, recipient_count=0, delivery_count=len(made)), replace(reached, deliveries=made)

    return await once.say(server, caller, work, claim=claim)


def _content(wanted: Push, domain_id: str) -> NewContent:
    return NewContent(
        domain_id,
        DEFAULT_TOPIC if wanted.topic is None else wanted.topic,
        message=wanted.message,
        notification_type=wanted.notification_type,
        notification_level=wanted.notification_level,
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


def _delivery(
    record: NewNotification, protocol: Protocol, sealed_data: bytes, destination: str | None, part: int
) -> NewDelivery:
    return NewDelivery(
        delivery_id=ids.new(ids.DELIVERY),
        domain_id=record.domain_id,
        notification_id=record.notification_id,
        content_id=record.content_id,
        protocol_id=protocol.protocol_id,
        plugin_id=protocol.plugin_id or "",
        part=part,
        push_data=sealed_data,
        destination=destination or "",
        next_attempt_at=record.created_at,
        created_by=record.created_by,
        created_at=record.created_at,
    )
