"""Live streams: what an inbox's log says, from a position on, for as long as somebody listens.

A stream reads the log and waits for the hub to say that there is more. The hub only wakes: nothing that it loses or
repeats can make a stream lose its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.hub import HubClosed, Watch
from resolvers import access, checks, cursors, inboxes
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired, Unavailable
from storage import changes
from storage import inboxes as inbox_rows
from storage.inboxes import Owner
from storage.models import Inbox, Notification, NotificationLevel, NotificationType

BATCH = 100  # changes read at once while a stream catches up


@dataclass(frozen=True)
class StreamFilter:
    """Only what never changes of a notification. What is None does not narrow; an empty list matches nothing."""

    topics: Collection[str] | None = None
    notification_types: Collection[NotificationType] | None = None
    notification_levels: Collection[NotificationLevel] | None = None
    project_id: str | None = None

    def takes(self, row: Notification) -> bool:
        return (
            (self.topics is None or row.content.topic in self.topics)
            and (self.notification_types is None or row.content.notification_type in self.notification_types)
            and (self.notification_levels is None or row.content.notification_level in self.notification_levels)
            and (self.project_id is None or row.project_id == self.project_id)
        )


@dataclass(frozen=True)
class Batch:
    """The next changes of a stream: where they leave it, and the notifications added that still exist, in order."""

    position: StreamCursor
    added: Sequence[Notification] = ()


async def added(
    server: Server, caller: Caller, *, after: str | None, wanted: StreamFilter
) -> AsyncGenerator[Notification, None]:
    """The caller's new notifications: those after the cursor, or from now on; then live, each once and in order.

    Raises InvalidArgument, CursorExpired, and Unavailable when the server stops.
    """
    access.require(caller, access.PEOPLE)
    _check(wanted)
    owner = inboxes.own(caller)
    asked = None if after is None else cursors.stream_position(after, field="after")
    with server.hub.watch(owner) as watch:
        position = await _start(server, owner, asked)
        while True:
            batch = await _next(server, owner, position)
            for row in batch.added:
                if wanted.takes(row):
                    yield row
            if batch.position == position:
                await _more(watch, position)
            position = batch.position


async def check_heads(server: Server) -> None:
    """Wake the streams whose inbox is further than they were told: what the hub has lost is only late."""
    if watched := server.hub.watched():
        async with server.database.read() as session:
            server.hub.wake(await inbox_rows.heads(session, watched))


def _check(wanted: StreamFilter) -> None:
    checks.identifiers(list(wanted.topics or []), "filter.topics", longest=checks.MAX_NAME_LENGTH)
    if wanted.project_id is not None:
        checks.identifier(wanted.project_id, "filter.projectId")


async def _more(watch: Watch, position: StreamCursor) -> None:
    try:
        await watch.beyond(position.seq)
    except HubClosed as error:
        raise Unavailable("The server is stopping: resume with the last cursor.") from error


async def _start(server: Server, owner: Owner, asked: StreamCursor | None) -> StreamCursor:
    async with server.database.read() as session:
        inbox = await inbox_rows.find(session, owner)
    if asked is not None:
        return _at(inbox, cursors.seq_within(inbox, asked, field="after"))
    return _at(inbox, 0 if inbox is None else inbox.last_seq)


async def _next(server: Server, owner: Owner, position: StreamCursor) -> Batch:
    async with server.database.read() as session:
        inbox = await inbox_rows.find(session, owner)
        if inbox is None:
            return Batch(position)
        if position != cursors.BEGINNING and position.generation != inbox.generation:
            raise CursorExpired("This inbox has started anew: read it again.")
        return await _read(session, inbox, position)


async def _read(session: AsyncSession, inbox: Inbox, position: StreamCursor) -> Batch:
    log = await changes.after(session, inbox.inbox_id, position.seq, limit=BATCH)
    if inbox.last_seq > position.seq and (not log or log[0].seq != position.seq + 1):
        raise CursorExpired("The log no longer reaches back to this cursor: read the inbox again.")
    if not log:
        return Batch(position)
    rows = await changes.notifications_of(session, log)
    added = [rows[change.notification_id] for change in log if change.notification_id in rows]
    return Batch(_at(inbox, log[-1].seq), added)


def _at(inbox: Inbox | None, seq: int) -> StreamCursor:
    return cursors.BEGINNING if inbox is None else StreamCursor(inbox.inbox_id, inbox.generation, seq)
