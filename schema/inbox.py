"""The caller's inbox: its counts, and the mutations that change what lies in it."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry
from strawberry import ID, argument

from resolvers import inboxes
from resolvers.inboxes import Changed, InboxState
from schema.context import Info
from schema.scalars import Cursor

NotificationIds = Annotated[
    list[ID], argument(description="At most 1,000 ids. Those that are not the caller's are passed over.")
]
UpTo = Annotated[
    Cursor, argument(description="A stream cursor, so that what came since the caller looked is not touched.")
]
OriginId = Annotated[
    str | None,
    argument(description="Any mark of the client's own: the change carries it, so that the client knows its own."),
]


@strawberry.type(description="A user's inbox at one moment: exact, and read without counting.")
class Inbox:
    unread_count: int = strawberry.field(description="Notifications that are not read.")
    unseen_count: int = strawberry.field(description="Notifications that came since the bell was last opened.")
    total_count: int = strawberry.field(description="All notifications in the inbox.")
    cursor: Cursor = strawberry.field(description="The stream cursor of the latest change: subscribe after it.")

    @classmethod
    def from_state(cls, state: InboxState) -> Inbox:
        return cast(Inbox, state)  # which has the same attributes, and spells a cursor where one is asked for


@strawberry.type(description="What a change of an inbox came to.")
class InboxPayload:
    inbox: Inbox | None = strawberry.field(description="The inbox after it; null unless it was just one user's.")
    changed_count: int = strawberry.field(description="How many notifications really changed.")

    @classmethod
    def from_change(cls, changed: Changed) -> InboxPayload:
        inbox = None if changed.inbox is None else Inbox.from_state(changed.inbox)
        return cls(inbox=inbox, changed_count=changed.count)


@strawberry.type(description="What emptying inboxes came to.")
class DeleteAllPayload:
    deleted_count: int = strawberry.field(description="How many notifications were deleted.")


@strawberry.type(description="What registering users came to.")
class RegisterUsersPayload:
    registered_count: int = strawberry.field(description="How many of the users were not known before.")


@strawberry.type
class InboxQuery:
    @strawberry.field(description="The caller's own inbox; null for a service, which has none.")
    async def inbox(self, info: Info) -> Inbox | None:
        state = await inboxes.mine(info.context.server, info.context.caller)
        return None if state is None else Inbox.from_state(state)


@strawberry.type
class InboxMutation:
    @strawberry.mutation(description="Mark notifications as read, or as unread.")
    async def set_notifications_read(
        self,
        info: Info,
        notification_ids: NotificationIds,
        is_read: Annotated[bool, argument(description="False marks them as unread.")] = True,
        origin_id: OriginId = None,
    ) -> InboxPayload:
        changed = await inboxes.set_read(
            info.context.server,
            info.context.caller,
            notification_ids=notification_ids,
            is_read=is_read,
            origin_id=origin_id,
        )
        return InboxPayload.from_change(changed)

    @strawberry.mutation(description="Mark everything up to a position in the caller's inbox as read.")
    async def mark_all_read(self, info: Info, up_to: UpTo, origin_id: OriginId = None) -> InboxPayload:
        changed = await inboxes.mark_all_read(
            info.context.server, info.context.caller, up_to=up_to, origin_id=origin_id
        )
        return InboxPayload.from_change(changed)

    @strawberry.mutation(description="Say that the bell was opened: clears unseenCount, and leaves unreadCount.")
    async def mark_inbox_seen(self, info: Info, up_to: UpTo, origin_id: OriginId = None) -> InboxPayload:
        changed = await inboxes.mark_seen(info.context.server, info.context.caller, up_to=up_to, origin_id=origin_id)
        return InboxPayload.from_change(changed)

    @strawberry.mutation(description="Delete a notification. Other people's rows and deliveries are not touched.")
    async def delete_notification(
        self,
        info: Info,
        notification_id: Annotated[ID, argument(description="Its id. NOT_FOUND when it is not the caller's.")],
        origin_id: OriginId = None,
    ) -> InboxPayload:
        changed = await inboxes.delete_one(
            info.context.server, info.context.caller, notification_id=notification_id, origin_id=origin_id
        )
        return InboxPayload.from_change(changed)

    @strawberry.mutation(description="Delete notifications. Other people's rows and deliveries are not touched.")
    async def delete_notifications(
        self, info: Info, notification_ids: NotificationIds, origin_id: OriginId = None
    ) -> InboxPayload:
        changed = await inboxes.delete(
            info.context.server, info.context.caller, notification_ids=notification_ids, origin_id=origin_id
        )
        return InboxPayload.from_change(changed)

    @strawberry.mutation(description="Empty the caller's inbox, or, for administrators, those of the users named.")
    async def delete_all_notifications(
        self,
        info: Info,
        users: Annotated[list[ID] | None, argument(description="At most 100; null: the caller.")] = None,
        up_to: Annotated[
            Cursor | None, argument(description="Only what came up to this stream cursor; of one user's inbox.")
        ] = None,
        domain_id: Annotated[ID | None, argument(description="The users' domain; null: the caller's.")] = None,
        origin_id: OriginId = None,
    ) -> DeleteAllPayload:
        deleted = await inboxes.delete_all(
            info.context.server,
            info.context.caller,
            users=users,
            up_to=up_to,
            domain_id=domain_id,
            origin_id=origin_id,
        )
        return DeleteAllPayload(deleted_count=deleted)

    @strawberry.mutation(description="Make users known, so that what is said to their whole domain reaches them.")
    async def register_users(
        self,
        info: Info,
        user_ids: Annotated[list[ID], argument(description="At most 1,000 user ids.")],
        domain_id: Annotated[ID | None, argument(description="Their domain; null: the caller's.")] = None,
    ) -> RegisterUsersPayload:
        registered = await inboxes.register(
            info.context.server, info.context.caller, user_ids=user_ids, domain_id=domain_id
        )
        return RegisterUsersPayload(registered_count=registered)
