"""Watching feeds, for the tests of resolvers, without the parts that a test does not care about."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from resolvers import cursors, domain_feed, feeds, inboxes
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.feeds import FeedEvent
from resolvers.once import Said
from resolvers.streams import StreamFilter
from storage import inboxes as inbox_rows
from tests.resolvers.callers import ADMIN
from tests.resolvers.said import say

EVERY = StreamFilter()


def watch(
    server: Server,
    caller: Caller = ADMIN,
    *,
    project_id: str | None = None,
    domain_id: str | None = None,
    after: str | None = None,
    wanted: StreamFilter = EVERY,
) -> AsyncGenerator[FeedEvent, None]:
    return feeds.watch(server, caller, project_id=project_id, domain_id=domain_id, after=after, wanted=wanted)


async def now(server: Server, project_id: str | None = None, domain_id: str = "home") -> str:
    """The cursor of where a feed stands."""
    if project_id is None:
        return cursors.for_feed(await domain_feed.start(server, domain_id, None))
    async with server.database.read() as session:
        return inboxes.state(await inbox_rows.find(session, inbox_rows.of_project(domain_id, project_id))).cursor


async def say_to_domain(server: Server, **changes: Any) -> Said:
    return await say(server, "home", resource_type="identity.Domain", **changes)
