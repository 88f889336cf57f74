"""Saying what happened, in the API: creates and pushes, and what each led to.

Inputs are unpacked and rows mapped here; every rule is in `resolvers`.
"""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import ID, Private, argument

from resolvers import notifications, pushes
from resolvers.errors import Refused
from resolvers.notifications import Creation
from resolvers.once import Said
from resolvers.pushes import Push
from schema.context import Info
from schema.enums import NotificationLevel, NotificationType
from schema.notification import Delivery, Notification
from schema.scalars import JSON

HowMany = Annotated[int | None, argument(description="At most so many: 0 to 100; 20 when null.")]


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
