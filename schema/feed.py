"""What is said to a project, or in a whole domain, as it is said: the feed of administrators and services."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry
from strawberry import ID, argument

from resolvers import cursors, feeds
from resolvers.events import Event
from schema import live, notification
from schema.context import Info
from schema.notification import Notification, StreamFilter
from schema.scalars import Cursor
from schema.selection import Fields, Made
from schema.told import EVENT, Told, Types

FEED_EVENT = Fields({"cursor": Made((), as_text=lambda event: cursors.for_stream(event.position))})
TOLD: Types = {"FeedEvent": Told(FEED_EVENT, EVENT), **notification.TOLD}


@strawberry.type(description="A record that was made.")
class FeedEvent:
    cursor: Cursor = strawberry.field(description="Where it stands in its feed: go on after it.")
    notification: Notification = strawberry.field(description="The record, as it is now.")

    @classmethod
    def from_value(cls, event: feeds.FeedEvent) -> FeedEvent:
        return cls(cursor=Cursor(event.cursor), notification=Notification.from_row(event.notification))


@strawberry.type
class FeedSubscription:
    @strawberry.subscription(
        description="The records of creates, and of a domain those of pushes too, each once and in order; what becomes "
        "of them later is not told. Services: those that they made. Not for users. A domain's feed may lag a moment "
        "behind. It ends with CURSOR_EXPIRED where it cannot go on after the cursor."
    )
    async def notification_feed(
        self,
        info: Info,
        project_id: Annotated[ID | None, argument(description="What is said to this project; null: all.")] = None,
        domain_id: Annotated[ID | None, argument(description="The domain; null: the caller's.")] = None,
        after: Annotated[
            Cursor | None,
            argument(description="First what was made after this cursor of the same feed; null: only what is new."),
        ] = None,
        filter: Annotated[StreamFilter | None, argument(description="Which records; null: all.")] = None,
    ) -> AsyncGenerator[FeedEvent, None]:
        events = feeds.watch(
            info.context.server,
            info.context.caller,
            project_id=project_id,
            domain_id=domain_id,
            after=after,
            wanted=(filter or StreamFilter()).to_value(),
            tell=live.tell(info, _shown, TOLD),
        )
        del info  # which holds all that the operation was opened with, for as long as the stream may last
        async for event in events:
            yield FeedEvent.from_value(event)


def _shown(event: Event) -> FeedEvent:
    return FeedEvent.from_value(feeds.FeedEvent.from_event(event))
