"""Feeds: the records of a project, or of a whole domain, live, for those who watch more than one inbox.

A feed brings each record once and in order. What becomes of a record later is not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from resolvers import access, checks, cursors, domain_feed, inbox_log, streams
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.cursors import FeedCursor, StreamCursor
from resolvers.events import Event
from resolvers.logs import Tell
from resolvers.streams import StreamFilter
from storage import added_rows, inboxes
from storage.models import Notification
from storage.scope import Scope
from storage.selected import Row

# Between two looks at records that wait for a transaction which began before theirs: the first, and the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 1.0


@dataclass(frozen=True)
class FeedEvent:
    cursor: str
    notification: Notification | Row  # a record

    @classmethod
    def from_event(cls, event: Event) -> FeedEvent:
        """Of a project's log."""
        assert event.notification is not None
        return cls(cursors.for_stream(event.position), added_rows.with_values(event.notification))


async def watch(
    server: Server,
    caller: Caller,
    *,
    project_id: str | None,
    domain_id: str | None,
    after: str | None,
    wanted: StreamFilter,
    tell: Tell | None = None,
) -> AsyncGenerator[FeedEvent, None]:
    """The records of a project, or, without one, of the domain: those after the cursor, or from now on; then live.

    Of a service, those that it made. Only a project's are told. Raises PermissionDenied, InvalidArgument,
    CursorExpired, and Unavailable when the server stops.
    """
    async with aclosing(_open(server, caller, project_id, domain_id, after, wanted, tell)) as events:
        async for event in events:
            yield event


def _open(
    server: Server,
    caller: Caller,
    project_id: str | None,
    domain_id: str | None,
    after: str | None,
    wanted: StreamFilter,
    tell: Tell | None,
) -> AsyncGenerator[FeedEvent, None]:
    access.require(caller, access.SENDERS)
    domain = access.domain_of(caller, domain_id)
    scope = Scope(domain, created_by=caller.user_id if caller.role is Role.SERVICE else None)
    streams.check(wanted)
    if project_id is None:
        asked = None if after is None else cursors.feed_position(after, field="after")
        return _of_domain(server, domain, scope, asked, wanted)
    position = None if after is None else cursors.stream_position(after, field="after")
    project = checks.identifier(project_id, "projectId")
    return _of_project(server, inboxes.of_project(domain, project), scope, position, wanted, tell)


async def _of_project(
    server: Server,
    owner: inboxes.Owner,
    scope: Scope,
    after: StreamCursor | None,
    wanted: StreamFilter,
    tell: Tell | None,
) -> AsyncGenerator[FeedEvent, None]:
    """A project has a change log, as an inbox has."""

    def wants(event: Event) -> bool:
        record = event.notification
        return record is not None and wanted.takes(record) and scope.created_by in (None, record.created_by)

    with streams.listen(server, owner, wants=wants, tell=tell) as follower:
        batch = await inbox_log.opened(server, owner, after)
        while True:
            for event in batch.events:
                if not follower.offer(event):
                    yield FeedEvent.from_event(event)
            position = await follower.follow(batch) if batch.is_last else batch.position
            batch = follower.recent(position) or await inbox_log.read(server, owner, position, limit=streams.BATCH)


async def _of_domain(
    server: Server, domain_id: str, scope: Scope, after: FeedCursor | None, wanted: StreamFilter
) -> AsyncGenerator[FeedEvent, None]:
    with server.hub.watch(inboxes.of_domain(domain_id)) as watch:
        position = await domain_feed.start(server, domain_id, after)
        pause = FIRST_PAUSE_SECONDS
        while True:
            batch = await domain_feed.read(server, scope, position, limit=streams.BATCH)
            for record in batch.records:
                if wanted.takes(record):
                    yield FeedEvent(batch.cursor(record), record)
            position = batch.position
            if batch.is_full:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if batch.waits else None):
                    await streams.more(watch, position.number)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS) if batch.waits else FIRST_PAUSE_SECONDS
