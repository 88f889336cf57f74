"""Live streams: what an inbox's log says, from a position on, for as long as somebody listens.

A stream reads its log up to the end, and follows it from there together with all others of this process. Its events
are taken from it one by one, but for those that it could `tell` at once while it followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from dispatch.hub import HubClosed, Watch
from resolvers import access, checks, cursors, events, inbox_log, inboxes, paging
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired, Unavailable
from resolvers.events import Batch, Event, EventKind
from resolvers.logs import Follower, Source, Tell
from storage import feeds
from storage import inboxes as inbox_rows
from storage.inboxes import Owner
from storage.models import Notification, NotificationLevel, NotificationType
from storage.notifications import NotificationRow

BATCH = 200  # changes read at once while a stream catches up
SYNC_EVERY_SECONDS = 60.0  # so that the cursor of a client whose filter takes nothing moves on

Wants = Callable[[Event], Any]


@dataclass(frozen=True)
class StreamFilter:
    """Only what never changes of a notification. What is None does not narrow; an empty list matches nothing."""

    topics: Collection[str] | None = None
    notification_types: Collection[NotificationType] | None = None
    notification_levels: Collection[NotificationLevel] | None = None
    project_id: str | None = None

    def takes(self, row: Notification | NotificationRow) -> bool:
        return (
            (self.topics is None or row.content.topic in self.topics)
            and (self.notification_types is None or row.content.notification_type in self.notification_types)
            and (self.notification_levels is None or row.content.notification_level in self.notification_levels)
            and (self.project_id is None or row.project_id == self.project_id)
        )


EVERYTHING = StreamFilter()


async def added(
    server: Server, caller: Caller, *, after: str | None, wanted: StreamFilter, tell: Tell | None = None
) -> AsyncGenerator[NotificationRow, None]:
    """The caller's new notifications: those after the cursor, or from now on; then live, each once and in order.

    Raises InvalidArgument, CursorExpired, and Unavailable when the server stops.
    """
    owner, asked = _open(caller, after, wanted)
    with listen(server, owner, wants=_new(wanted), tell=tell) as follower:
        batch = await inbox_log.opened(server, owner, asked)
        while True:
            for event in batch.events:
                if not follower.offer(event) and event.notification is not None:
                    yield event.notification
            position = await follower.follow(batch) if batch.is_last else batch.position
            batch = follower.recent(position) or await inbox_log.read(server, owner, position, limit=BATCH)


async def changed(
    server: Server, caller: Caller, *, after: str | None, wanted: StreamFilter, tell: Tell | None = None
) -> AsyncGenerator[Event, None]:
    """Every change of the caller's inbox: those after the cursor, or from now on; then live, each once and in order.

    SYNCED comes when all that was missed was told, and from time to time; RESET where the log no longer has it.
    Raises InvalidArgument, and Unavailable when the server stops.
    """
    owner, asked = _open(caller, after, wanted)
    with listen(server, owner, wants=_taken(wanted), tell=tell) as follower:
        position, due = None, 0.0
        while True:
            try:
                batch = await _next(server, owner, follower, position, asked)
            except CursorExpired:
                reset = await inbox_log.reset(server, owner)
                yield reset
                position = reset.position
                continue
            for event in batch.events:
                if not follower.offer(event):
                    yield event
            position = batch.position
            if batch.is_last:
                if due <= _now():
                    synced, due = events.standing(EventKind.SYNCED, batch.inbox), _now() + SYNC_EVERY_SECONDS
                    if not follower.offer(synced):
                        yield synced
                position = await follower.follow(batch, seconds=due - _now())


async def _next(
    server: Server, owner: Owner, follower: Follower, position: StreamCursor | None, asked: StreamCursor | None
) -> Batch:
    """What follows a position; where there is none yet, what is asked for. Raises InvalidArgument, CursorExpired."""
    if position is None:
        return await inbox_log.opened(server, owner, asked)
    return follower.recent(position) or await inbox_log.read(server, owner, position, limit=BATCH)


async def page(
    server: Server, caller: Caller, *, after: str, first: int | None
) -> tuple[list[Event], StreamCursor, bool]:
    """The next changes after a cursor, where they lead, and whether there are more: the same log for who polls.

    Raises InvalidArgument.
    """
    owner, asked = _open(caller, after, StreamFilter())
    limit = paging.size(first, "first")
    try:
        batch = await inbox_log.read(server, owner, await inbox_log.start(server, owner, asked), limit=limit)
    except CursorExpired:
        event = await inbox_log.reset(server, owner)
        return [event], event.position, False
    return list(batch.events), batch.position, batch.has_more


def check(wanted: StreamFilter) -> None:
    """Raises InvalidArgument for what no notification could have."""
    checks.identifiers(list(wanted.topics or []), "filter.topics", longest=checks.MAX_NAME_LENGTH)
    if wanted.project_id is not None:
        checks.identifier(wanted.project_id, "filter.projectId")


async def check_heads(server: Server) -> None:
    """Wake the streams whose inbox or feed is further than they were told: what the hub has lost is only late."""
    if watched := server.hub.watched():
        async with server.database.read() as session:
            server.hub.wake(await inbox_rows.heads(session, watched) | await feeds.heads(session, watched))


def _open(caller: Caller, after: str | None, wanted: StreamFilter) -> tuple[Owner, StreamCursor | None]:
    access.require(caller, access.PEOPLE)
    check(wanted)
    return inboxes.own(caller), None if after is None else cursors.stream_position(after, field="after")


def listen(server: Server, owner: Owner, *, wants: Wants | None, tell: Tell | None) -> AbstractContextManager[Follower]:
    """Follow a log together with the process's other streams.

    `wants` is None for a stream that wants all, `tell` for one that can be told nothing at once.
    """
    source = Source(partial(inbox_log.read_each, server, limit=BATCH), inbox_log.brought)
    return server.logs.listen(server.hub, owner, source=source, tell=_of_wanted(wants, tell))


def _of_wanted(wants: Wants | None, tell: Tell | None) -> Tell:
    """What is not wanted needs no telling. Called for each event of each stream: nothing is in its way for nothing."""
    told = tell or _untold
    return told if wants is None else lambda event: not wants(event) or told(event)


def _untold(_event: Event) -> bool:
    return False


def _new(wanted: StreamFilter) -> Wants:
    """Notifications."""
    if wanted == EVERYTHING:
        return attrgetter("notification")
    return lambda event: event.notification is not None and wanted.takes(event.notification)


def _taken(wanted: StreamFilter) -> Wants | None:
    """Notifications, and whatever concerns none in particular, and removals."""
    if wanted == EVERYTHING:
        return None
    return lambda event: event.notification is None or wanted.takes(event.notification)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def more(watch: Watch, seq: int) -> None:
    """Return once there is more after a number. Raises Unavailable."""
    try:
        await watch.beyond(seq)
    except HubClosed as error:
        raise Unavailable("The server is stopping: resume with the last cursor.") from error
