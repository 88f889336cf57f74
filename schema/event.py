"""What happens in an inbox, as events: live by subscription, or read from a cursor on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from operator import attrgetter
from typing import Annotated, Any

import strawberry
from strawberry import ID, argument

from resolvers import cursors, streams
from resolvers.cursors import StreamCursor
from resolvers.events import Event, EventKind
from schema import live, notification
from schema.context import Info
from schema.notification import Notification, StreamFilter
from schema.scalars import Cursor
from schema.selection import Fields, Made
from schema.told import EVENT, Told, Types


@strawberry.interface(
    description="One change of an inbox, with the counts after it. New kinds may come: pass over them."
)
class InboxEvent:
    cursor: Cursor = strawberry.field(description="Where it stands in the stream: go on after it.")
    unread_count: int = strawberry.field(description="Notifications that are not read, after it.")
    unseen_count: int = strawberry.field(description="Notifications since the bell was last opened, after it.")
    origin_id: str | None = strawberry.field(description="The mark that the client gave which made the change.")


@strawberry.type(description="A notification came.")
class NotificationAdded(InboxEvent):
    notification: Notification = strawberry.field(
        description="The notification. What became of it since comes as later changes."
    )


@strawberry.type(description="Notifications were marked as read, or as unread.")
class NotificationsRead(InboxEvent):
    notification_ids: list[ID] = strawberry.field(description="Which; those that are gone already are left out.")
    is_read: bool = strawberry.field(description="As what.")


@strawberry.type(description="Notifications were deleted.")
class NotificationsRemoved(InboxEvent):
    notification_ids: list[ID] = strawberry.field(description="Which.")


@strawberry.type(description="Everything up to a position was marked as read.")
class AllRead(InboxEvent):
    up_to: Cursor = strawberry.field(description="The position: what came later is not touched.")


@strawberry.type(description="The bell was opened.")
class InboxSeen(InboxEvent):
    up_to: Cursor = strawberry.field(description="What came up to here was seen.")


@strawberry.type(description="Everything up to a position was deleted.")
class AllRemoved(InboxEvent):
    up_to: Cursor = strawberry.field(description="The position: what came later is not touched.")


@strawberry.type(description="All that was missed has been told. Comes again from time to time, to move the cursor on.")
class InboxSynced(InboxEvent):
    pass


@strawberry.type(
    description="Something was missed that the log no longer has: read the inbox anew, and go on after this."
)
class InboxReset(InboxEvent):
    pass


OF_KIND: Mapping[EventKind, type[InboxEvent]] = {
    EventKind.ADDED: NotificationAdded,
    EventKind.READ: NotificationsRead,
    EventKind.REMOVED: NotificationsRemoved,
    EventKind.ALL_READ: AllRead,
    EventKind.SEEN: InboxSeen,
    EventKind.ALL_REMOVED: AllRemoved,
    EventKind.SYNCED: InboxSynced,
    EventKind.RESET: InboxReset,
}
EVENTS = tuple(OF_KIND.values())

# What is told of an event: fields of the types above, each of which has some of them.
EVENT_FIELDS = Fields(
    {
        "cursor": Made((), as_text=lambda event: cursors.for_stream(event.position)),
        "up_to": Made((), as_text=lambda event: cursors.for_stream(event.up_to)),
        **{
            name: Made((), as_text=attrgetter(name))
            for name in ("unread_count", "unseen_count", "origin_id", "notification_ids", "is_read")
        },
    }
)
TOLD: Types = {
    **{type_.__name__: Told(EVENT_FIELDS, EVENT, kind) for kind, type_ in OF_KIND.items()},
    **notification.TOLD,
}


@strawberry.type(description="The next changes of an inbox.")
class InboxChanges:
    events: list[InboxEvent] = strawberry.field(description="Them, oldest first.")
    cursor: Cursor = strawberry.field(description="Where they lead: ask again after it.")
    has_more: bool = strawberry.field(description="Whether there are more already.")


@strawberry.type
class EventQuery:
    @strawberry.field(
        description="What happened in the caller's inbox after a cursor, for clients that ask repeatedly."
    )
    async def inbox_changes(
        self,
        info: Info,
        after: Annotated[Cursor, argument(description="A stream cursor: an inbox's, a notification's or an event's.")],
        first: Annotated[int | None, argument(description="At most so many changes: 0 to 100; 20 when absent.")] = None,
    ) -> InboxChanges:
        events, position, has_more = await streams.page(
            info.context.server, info.context.caller, after=after, first=first
        )
        return InboxChanges(events=[_shown(event) for event in events], cursor=_cursor(position), has_more=has_more)


@strawberry.type
class EventSubscription:
    @strawberry.subscription(description="Everything that happens in the caller's inbox, each once and in order.")
    async def inbox_changed(
        self,
        info: Info,
        after: Annotated[
            Cursor | None,
            argument(description="First what happened after this stream cursor; null: only what is new."),
        ] = None,
        filter: Annotated[
            StreamFilter | None,
            argument(description="Which notifications are told of when they come; all other events come anyway."),
        ] = None,
    ) -> AsyncGenerator[InboxEvent, None]:
        wanted = (filter or StreamFilter()).to_value()
        events = streams.changed(
            info.context.server, info.context.caller, after=after, wanted=wanted, tell=live.tell(info, _shown, TOLD)
        )
        del info  # which holds all that the operation was opened with, for as long as the stream may last
        async for event in events:
            yield _shown(event)


def _shown(event: Event) -> InboxEvent:
    counts: dict[str, Any] = {
        "cursor": _cursor(event.position),
        "unread_count": event.unread_count,
        "unseen_count": event.unseen_count,
        "origin_id": event.origin_id,
    }
    ids = [ID(notification_id) for notification_id in event.notification_ids]
    match event.kind:
        case EventKind.ADDED:
            assert event.notification is not None
            return NotificationAdded(**counts, notification=Notification.from_text(event.notification))
        case EventKind.READ:
            return NotificationsRead(**counts, notification_ids=ids, is_read=event.is_read)
        case EventKind.REMOVED:
            return NotificationsRemoved(**counts, notification_ids=ids)
        case EventKind.ALL_READ:
            return AllRead(**counts, up_to=_cursor(event.up_to))
        case EventKind.SEEN:
            return InboxSeen(**counts, up_to=_cursor(event.up_to))
        case EventKind.ALL_REMOVED:
            return AllRemoved(**counts, up_to=_cursor(event.up_to))
        case EventKind.SYNCED:
            return InboxSynced(**counts)
        case EventKind.RESET:
            return InboxReset(**counts)


def _cursor(position: StreamCursor) -> Cursor:
    return Cursor(cursors.for_stream(position))
