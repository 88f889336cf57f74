"""Notifications and their deliveries, which refer to each other: the types, and what can be asked and watched.

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
from resolvers import deliveries, inboxes, notifications, streams
from resolvers.asking import NOTHING, Asking
from resolvers.events import Event
from resolvers.inboxes import InboxState
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
from storage import added_rows, models, notification_filters
from storage.deliveries import Filter as DeliveryRows
from storage.notification_filters import Filter
from storage.notifications import NotificationRow
from storage.selected import Row

MarkRead = Annotated[
    bool | None,
    argument(
        description="Whether the caller's own rows in the answer become read by it; null: as the server is set. "
        "Every field shows the state before. Never by GET."
    ),
]


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
        return cls.from_row(added_rows.with_values(row))


@strawberry.type(description="A page of notifications.")
class NotificationConnection(Connection[Notification]):
    state: Private[InboxState | None] = None

    @strawberry.field(
        description="The inbox that the list is of, as it was before the rows were read: what the list lacks comes "
        "after its cursor. Null unless the list is scoped to one user."
    )
    def inbox(self) -> Inbox | None:
        return None if self.state is None else Inbox.from_state(self.state)


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
        selected, marked_by = selection.of_one(info, NOTIFICATION), inboxes.marked_by(server, caller, mark_read)
        row = await notifications.find(server, caller, notification_id, selected=selected.and_besides(marked_by))
        if row and marked_by:
            info.context.shown([row], mark_read=mark_read)
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
        marked_by = () if selected.is_empty else inboxes.marked_by(server, caller, mark_read)
        rows = notification_filters.UNFILTERED if filter is None else filter.to_filter()
        state = await notifications.inbox_of(server, caller, rows, wanted.domain_id) if selected.inbox else None
        listing = await notifications.page(
            server,
            caller,
            rows,
            domain_id=wanted.domain_id,
            order_by=[(order.field, order.direction) for order in order_by] if order_by else (),
            window=Window(first, after, last, before),
            asking=asked(query),
            selected=selected.and_besides(marked_by),
        )
        if marked_by:
            info.context.shown(listing.page.rows, mark_read=mark_read)
        return NotificationConnection(**connection(listing, Notification.from_row, selected), state=state)

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
