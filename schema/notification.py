"""Notifications and their deliveries, which refer to each other: the types, and what can be asked and said.

Inputs are unpacked and rows mapped here; every rule is in `resolvers`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import strawberry
from orjson import Fragment
from strawberry import ID, Private, argument

from dispatch import planner
from resolvers import deliveries, inboxes, notifications, pushes, streams
from resolvers.asking import NOTHING, Asking
from resolvers.errors import Refused
from resolvers.events import Event
from resolvers.notifications import Creation
from resolvers.once import Said
from resolvers.pushes import Push
from resolvers.streams import StreamFilter as StreamFilterValue
from schema import live, selection
from schema.asking import Query, asked
from schema.context import Info
from schema.delivery import Attempt, DeliveryFilter, DispatchDecision
from schema.enums import (
    DecisionReason,
    DeliveryState,
    NotificationLevel,
    NotificationOrderField,
    NotificationType,
    OrderDirection,
)
from schema.inbox import Inbox
from schema.node import Node
from schema.paging import After, Before, Connection, First, Last, Window, connection
from schema.scalars import JSON, Cursor
from schema.selection import Fields, Made, column, relay_id
from schema.told import ROW, Told, Types
from storage import inboxes as inbox_rows
from storage import lines, models
from storage.deliveries import Filter as DeliveryRows
from storage.notification_lists import Filter
from storage.notifications import NotificationRow
from storage.selected import Row

MarkRead = Annotated[
    bool | None,
    argument(
        description="Whether the caller's own rows in the answer become read by it; null: as the server is set. "
        "Every field shows the state before. Never by GET."
    ),
]
HowMany = Annotated[int | None, argument(description="At most so many: 0 to 100; 20 when null.")]


def _cursor(row: Any) -> str | None:
    # A record's place in its project's feed is not a place in an inbox.
    if row.user_id is None or row.inbox is None or row.seq is None:
        return None
    return inboxes.cursor(row.inbox, row.seq)


def _decisions(row: Any) -> list[DispatchDecision]:
    return [DispatchDecision.from_decision(planner.DispatchDecision.from_json(kept)) for kept in row.decisions]


NOTIFICATION = Fields(
    {
        "id": relay_id("Notification", "notification_id"),
        "notification_id": column("notification_id"),
        "parent_notification_id": column("parent_notification_id"),
        "topic": column("topic", within="content"),
        "message": column("message", within="content", text=Fragment),
        "notification_type": column("notification_type", within="content"),
        "notification_level": column("notification_level", within="content"),
        "is_read": column("is_read", text=bool),
        "read_at": column("read_at"),
        "user_id": column("user_id"),
        "project_id": column("project_id"),
        "domain_id": column("domain_id"),
        "created_at": column("created_at"),
        "cursor": Made(("user_id", "inbox_id", "generation", "seq"), _cursor, _cursor),
        "decisions": Made(("decisions",), _decisions),
        "deliveries": Made(("notification_id",)),
    }
)

TOLD: Types = {"Notification": Told(NOTIFICATION, ROW)}  # where it is the row of an event

DELIVERY = Fields(
    {
        "id": relay_id("Delivery", "delivery_id"),
        "delivery_id": column("delivery_id"),
        "notification_id": column("notification_id"),
        "channel_id": column("channel_id"),
        "part": column("part"),
        "protocol_id": column("protocol_id"),
        "plugin_id": column("plugin_id"),
        "state": column("state"),
        "reason": column("reason"),
        "detail": column("detail"),
        "attempt_count": column("attempt_count"),
        "next_attempt_at": column("next_attempt_at"),
        "created_at": column("created_at"),
        "finished_at": column("finished_at"),
        "notification": Made(("notification_id",)),
        "attempts": Made(("delivery_id",)),
    }
)


@strawberry.type(description="One thing said to one recipient: a row in a user's inbox, or the record of a create.")
class Notification(Node):
    notification_id: ID = strawberry.field(description="Its id: notification- and twelve hex digits.")
    parent_notification_id: ID | None = strawberry.field(description="The record that led to this row, if one did.")
    topic: str = strawberry.field(description="What it is about, such as monitoring.Alert.")
    message: JSON = strawberry.field(description="What was said: a JSON object, as it was given.")
    notification_type: NotificationType = strawberry.field(description="What kind of news it is.")
    notification_level: NotificationLevel = strawberry.field(description="How far it reaches.")
    is_read: bool = strawberry.field(description="Whether its user has read it; false on records.")
    read_at: datetime | None = strawberry.field(description="When it was read.")
    user_id: ID | None = strawberry.field(description="Whose inbox it is in; null on records.")
    project_id: ID | None = strawberry.field(description="The project that was addressed, if one was.")
    domain_id: ID = strawberry.field(description="Its domain.")
    created_at: datetime = strawberry.field(description="When it was created.")
    cursor: Cursor | None = strawberry.field(
        description="Where its creation stands in its inbox's stream, for after; null without an inbox."
    )
    decisions: list[DispatchDecision] = strawberry.field(description="What was decided for each channel, and why.")

    @strawberry.field(description="Its deliveries, newest first, as far as the caller may see them.")
    async def deliveries(self, info: Info, first: First = None, after: After = None) -> DeliveryConnection:
        wanted = DeliveryRows(notification_id=self.notification_id)
        return await _deliveries(info, wanted, None, Window(first=first, after=after))

    @classmethod
    def from_row(cls, row: models.Notification | Row) -> Notification:
        return NOTIFICATION.instance(cls, row)

    @classmethod
    def from_text(cls, row: NotificationRow) -> Notification:
        """Of a row that an event brings."""
        return cls.from_row(lines.with_values(row))


@strawberry.type(description="A page of notifications.")
class NotificationConnection(Connection[Notification]):
    owner: Private[inbox_rows.Owner | None]

    @strawberry.field(description="The inbox that the list is of; null unless it is scoped to one user.")
    async def inbox(self, info: Info) -> Inbox | None:
        return None if self.owner is None else Inbox.from_state(await inboxes.of(info.context.server, self.owner))


@strawberry.type(description="One notification through one channel, or, of a push, through one protocol.")
class Delivery(Node):
    delivery_id: ID = strawberry.field(
        description="Its id, the same for every attempt: delivery- and twelve hex digits."
    )
    notification_id: ID = strawberry.field(description="What is delivered; it stays when the notification is deleted.")
    channel_id: ID | None = strawberry.field(description="The channel; null for a push.")
    part: int = strawberry.field(description="Which of the channel's recipients it is for, from 0.")
    protocol_id: ID = strawberry.field(description="The protocol.")
    plugin_id: ID = strawberry.field(description="The plugin that sends it.")
    state: DeliveryState = strawberry.field(description="Where it stands.")
    reason: DecisionReason | None = strawberry.field(description="Why it ended without success.")
    detail: str | None = strawberry.field(description="The same, for people.")
    attempt_count: int = strawberry.field(description="How many attempts were made.")
    next_attempt_at: datetime | None = strawberry.field(description="When it is due; null once it is finished.")
    created_at: datetime = strawberry.field(description="When it was created.")
    finished_at: datetime | None = strawberry.field(description="When it was delivered or given up.")

    @strawberry.field(description="What is delivered; null when it was deleted, or is not the caller's to see.")
    async def notification(self, info: Info) -> Notification | None:
        row = await info.context.notifications.load(self.notification_id)
        return None if row is None else Notification.from_row(row)

    @strawberry.field(description="Its attempts, oldest first.")
    async def attempts(self, info: Info) -> list[Attempt]:
        return [Attempt.from_row(row) for row in await info.context.attempts.load(self.delivery_id)]

    @classmethod
    def from_row(cls, row: models.Delivery | Row) -> Delivery:
        return DELIVERY.instance(cls, row)


@strawberry.type(description="A page of deliveries, newest first.")
class DeliveryConnection(Connection[Delivery]):
    pass


@strawberry.input(description="Which notifications: all that is given has to match, and an empty list matches nothing.")
class NotificationFilter:
    notification_ids: list[ID] | None = strawberry.field(default=None, description="One of these ids.")
    topics: list[str] | None = strawberry.field(default=None, description="Exactly one of these topics.")
    notification_types: list[NotificationType] | None = strawberry.field(
        default=None, description="One of these types."
    )
    notification_levels: list[NotificationLevel] | None = strawberry.field(
        default=None, description="Exactly one of these levels."
    )
    is_read: bool | None = strawberry.field(default=None, description="Read, or not.")
    parent_notification_id: ID | None = strawberry.field(default=None, description="The children of this record.")
    project_id: ID | None = strawberry.field(default=None, description="What was said to this project.")
    user_id: ID | None = strawberry.field(default=None, description="What is in this user's inbox.")
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")
    created_after: datetime | None = strawberry.field(default=None, description="Created after this, exclusively.")
    created_before: datetime | None = strawberry.field(default=None, description="Created before this, exclusively.")

    def to_filter(self) -> Filter:
        return Filter(
            notification_ids=self.notification_ids,
            topics=self.topics,
            notification_types=self.notification_types,
            notification_levels=self.notification_levels,
            is_read=self.is_read,
            parent_notification_id=self.parent_notification_id,
            project_id=self.project_id,
            user_id=self.user_id,
            created_after=self.created_after,
            created_before=self.created_before,
        )


UNFILTERED = NotificationFilter()


@strawberry.input(description="A field to order notifications by.")
class NotificationOrder:
    field: NotificationOrderField = strawberry.field(description="The field.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.DESC, description="Which end comes first.")


@strawberry.input(description="Which notifications a stream brings, by what never changes of them.")
class StreamFilter:
    topics: list[str] | None = strawberry.field(default=None, description="Exactly one of these topics.")
    notification_types: list[NotificationType] | None = strawberry.field(
        default=None, description="One of these types."
    )
    notification_levels: list[NotificationLevel] | None = strawberry.field(
        default=None, description="Exactly one of these levels."
    )
    project_id: ID | None = strawberry.field(default=None, description="What was said to this project.")

    def to_value(self) -> StreamFilterValue:
        return StreamFilterValue(
            topics=self.topics,
            notification_types=self.notification_types,
            notification_levels=self.notification_levels,
            project_id=self.project_id,
        )


@strawberry.input(description="What happened, and to whom.")
class CreateNotificationInput:
    resource_type: str = strawberry.field(description="identity.Project, identity.User or identity.Domain.")
    resource_id: ID = strawberry.field(description="The id of that project, user or domain.")
    topic: str = strawberry.field(description="What it is about, such as monitoring.Alert; at most 255 characters.")
    message: JSON = strawberry.field(
        description="A JSON object for people and plugins: title, description, tags, callbacks, link and more."
    )
    notification_type: NotificationType | None = strawberry.field(
        default=NotificationType.INFO, description="What kind of news it is."
    )
    notification_level: NotificationLevel | None = strawberry.field(
        default=NotificationLevel.ALL, description="How far it reaches."
    )
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gets the first answer again, for at least 24 hours, and sends nothing."
    )

    def to_creation(self) -> Creation:
        return Creation(
            resource_type=self.resource_type,
            resource_id=self.resource_id,
            topic=self.topic,
            message=self.message,
            notification_type=self.notification_type or NotificationType.INFO,
            notification_level=self.notification_level or NotificationLevel.ALL,
            domain_id=self.domain_id,
            idempotency_key=self.idempotency_key,
        )


@strawberry.input(description="One message, straight through one protocol.")
class PushNotificationInput:
    protocol_id: ID = strawberry.field(description="An EXTERNAL protocol.")
    data: JSON = strawberry.field(description="Where to: what a channel of this protocol would have as its data.")
    message: JSON = strawberry.field(description="A JSON object: title, description, tags, callbacks, link and more.")
    topic: str | None = strawberry.field(default=None, description="What it is about; null: push.")
    notification_type: NotificationType | None = strawberry.field(
        default=NotificationType.INFO, description="What kind of news it is."
    )
    notification_level: NotificationLevel | None = strawberry.field(
        default=NotificationLevel.ALL, description="Kept on the record; a push has no channels to compare it with."
    )
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key gets the first answer again, for at least 24 hours, and sends nothing."
    )

    def to_push(self) -> Push:
        return Push(
            protocol_id=self.protocol_id,
            data=self.data,
            message=self.message,
            topic=self.topic,
            notification_type=self.notification_type or NotificationType.INFO,
            notification_level=self.notification_level or NotificationLevel.ALL,
            domain_id=self.domain_id,
            idempotency_key=self.idempotency_key,
        )


@strawberry.type(description="What a create led to.")
class CreateNotificationPayload:
    notification: Notification | None = strawberry.field(
        description="The record, or the one inbox row of a create for one user; null when it was deleted since."
    )
    recipient_count: int = strawberry.field(description="How many inboxes it reaches. Large crowds follow in moments.")
    delivery_count: int = strawberry.field(description="How many deliveries it made at once.")
    replayed: bool = strawberry.field(description="Whether this is the answer of an earlier call with the same key.")
    said: Private[Said]

    @strawberry.field(description="The inbox rows that it led to so far, newest first.")
    async def notifications(self, info: Info, first: HowMany = 100) -> list[Notification]:
        rows = await notifications.rows_of(info.context.server, self.said, first=first)
        return [Notification.from_row(row) for row in rows]

    @strawberry.field(description="The deliveries that it led to so far, oldest first.")
    async def deliveries(self, info: Info, first: HowMany = 100) -> list[Delivery]:
        rows = await notifications.deliveries_of(info.context.server, self.said.notification_id, first=first)
        return [Delivery.from_row(row) for row in rows]

    @classmethod
    def from_said(cls, said: Said) -> CreateNotificationPayload:
        return cls(
            notification=None if said.notification is None else Notification.from_row(said.notification),
            recipient_count=said.recipient_count,
            delivery_count=said.delivery_count,
            replayed=said.replayed,
            said=said,
        )


@strawberry.type(description="Why one of several creates was refused; the others are not touched by it.")
class CreateNotificationError:
    code: str = strawberry.field(description="As in the extensions of an error.")
    field: str | None = strawberry.field(description="The input's field at fault.")
    message: str = strawberry.field(description="For people.")

    @classmethod
    def from_refusal(cls, refusal: Refused) -> CreateNotificationError:
        return cls(code=refusal.code, field=refusal.field, message=refusal.message)


CreateNotificationResult = Annotated[
    CreateNotificationPayload | CreateNotificationError,
    strawberry.union("CreateNotificationResult", description="The outcome of one of several creates."),
]


@strawberry.type(description="What a push led to.")
class PushNotificationPayload:
    notification: Notification = strawberry.field(description="The record of the push.")
    delivery: Delivery = strawberry.field(
        description="Its delivery: the first recipient's, where its data names several."
    )
    replayed: bool = strawberry.field(description="Whether this is the answer of an earlier call with the same key.")


@strawberry.type
class NotificationQuery:
    @strawberry.field(description="A notification by its id; null when there is none that the caller may see.")
    async def notification(
        self,
        info: Info,
        notification_id: Annotated[ID, argument(description="Its id.")],
        mark_read: MarkRead = None,
    ) -> Notification | None:
        server, caller = info.context.server, info.context.caller
        selected = selection.of_one(info, NOTIFICATION)
        read = selected.and_besides(inboxes.marked_by(server, caller, mark_read))
        row = await notifications.find(server, caller, notification_id, selected=read)
        info.context.shown([row] if row else [], mark_read=mark_read)
        return selection.found(row, selected, Notification.from_row)

    @strawberry.field(
        description="A user's own notifications, a service's own records, or an administrator's domain; newest first."
    )
    async def notifications(
        self,
        info: Info,
        filter: Annotated[NotificationFilter | None, argument(description="Which ones; null: all.")] = None,
        query: Query = None,
        order_by: Annotated[
            list[NotificationOrder] | None, argument(description="In which order; null: the newest first.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        mark_read: MarkRead = None,
    ) -> NotificationConnection:
        server, caller = info.context.server, info.context.caller
        wanted, selected = filter or UNFILTERED, selection.of_connection(info, NOTIFICATION)
        listing = await notifications.page(
            server,
            caller,
            wanted.to_filter(),
            domain_id=wanted.domain_id,
            order_by=[(order.field, order.direction) for order in order_by or []],
            window=Window(first=first, after=after, last=last, before=before),
            asking=asked(query),
            selected=selected.and_besides(inboxes.marked_by(server, caller, mark_read)),
        )
        info.context.shown(listing.page.rows, mark_read=mark_read)
        owner = inboxes.scoped_to(caller, user_id=wanted.user_id, domain_id=wanted.domain_id)
        return NotificationConnection(**connection(listing, Notification.from_row, selected), owner=owner)

    @strawberry.field(description="A delivery by its id; null when there is none that the caller may see.")
    async def delivery(
        self, info: Info, delivery_id: Annotated[ID, argument(description="Its id.")]
    ) -> Delivery | None:
        selected = selection.of_one(info, DELIVERY)
        row = await deliveries.find(info.context.server, info.context.caller, delivery_id, selected=selected)
        return selection.found(row, selected, Delivery.from_row)

    @strawberry.field(description="Deliveries that the caller may see, newest first.")
    async def deliveries(
        self,
        info: Info,
        filter: Annotated[DeliveryFilter | None, argument(description="Which ones; null: all.")] = None,
        query: Query = None,
        first: First = None,
        after: After = None,
    ) -> DeliveryConnection:
        wanted = filter or DeliveryFilter()
        window = Window(first=first, after=after)
        return await _deliveries(info, wanted.to_filter(), wanted.domain_id, window, asked(query))


@strawberry.type
class NotificationMutation:
    @strawberry.mutation(description="Say once what happened: inboxes, streams and channels follow from it.")
    async def create_notification(
        self, info: Info, input: Annotated[CreateNotificationInput, argument(description="What, and to whom.")]
    ) -> CreateNotificationPayload:
        said = await notifications.create(info.context.server, info.context.caller, input.to_creation())
        return CreateNotificationPayload.from_said(said)

    @strawberry.mutation(description="Up to 100 creates, in order, each with its own outcome.")
    async def create_notifications(
        self, info: Info, inputs: Annotated[list[CreateNotificationInput], argument(description="At most 100.")]
    ) -> list[CreateNotificationResult]:
        creations = [each.to_creation() for each in inputs]
        outcomes = await notifications.create_many(info.context.server, info.context.caller, creations)
        return [
            CreateNotificationError.from_refusal(outcome)
            if isinstance(outcome, Refused)
            else CreateNotificationPayload.from_said(outcome)
            for outcome in outcomes
        ]

    @strawberry.mutation(description="Send one message through one protocol, to an address given in the call.")
    async def push_notification(
        self, info: Info, input: Annotated[PushNotificationInput, argument(description="What, and where to.")]
    ) -> PushNotificationPayload:
        pushed = await pushes.push(info.context.server, info.context.caller, input.to_push())
        return PushNotificationPayload(
            notification=Notification.from_row(pushed.record),
            delivery=Delivery.from_row(pushed.delivery),
            replayed=pushed.replayed,
        )


@strawberry.type
class NotificationSubscription:
    @strawberry.subscription(description="The caller's new notifications, each once and in order.")
    async def notification_created(
        self,
        info: Info,
        after: Annotated[
            Cursor | None,
            argument(description="First those that came after this stream cursor; null: only new ones."),
        ] = None,
        filter: Annotated[StreamFilter | None, argument(description="Which ones; null: all.")] = None,
    ) -> AsyncGenerator[Notification, None]:
        wanted = (filter or StreamFilter()).to_value()
        rows = streams.added(
            info.context.server, info.context.caller, after=after, wanted=wanted, tell=live.tell(info, _added, TOLD)
        )
        del info  # which holds all that the operation was opened with, for as long as the stream may last
        async for row in rows:
            yield Notification.from_text(row)


def _added(event: Event) -> Notification:
    assert event.notification is not None
    return Notification.from_text(event.notification)


async def _deliveries(
    info: Info, wanted: DeliveryRows, domain_id: str | None, window: Window, asking: Asking = NOTHING
) -> DeliveryConnection:
    selected = selection.of_connection(info, DELIVERY)
    listing = await deliveries.page(
        info.context.server,
        info.context.caller,
        wanted,
        domain_id=domain_id,
        window=window,
        asking=asking,
        selected=selected,
    )
    return DeliveryConnection(**connection(listing, Delivery.from_row, selected))
