"""A domain's feed read from a position on: its records, as far as nothing can come between them any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import cursors
from resolvers.context import Server
from resolvers.cursors import FeedCursor
from resolvers.errors import CursorExpired, InvalidArgument
from storage import feeds
from storage.feeds import LAST, Position, Standing
from storage.models import Notification
from storage.scope import Scope


@dataclass(frozen=True)
class Batch:
    """The next records of a feed, and where they leave it."""

    position: FeedCursor
    records: Sequence[Notification]
    is_full: bool  # there may be more at once
    waits: bool  # there are more, which have to wait for what may still come before them

    def cursor(self, record: Notification) -> str:
        number, content_id = feeds.position(record)
        return cursors.for_feed(FeedCursor(record.domain_id, self.position.generation, number, content_id))


async def start(server: Server, domain_id: str, after: FeedCursor | None) -> FeedCursor:
    """The position that a cursor names in this feed; without one, its head. Raises InvalidArgument, CursorExpired."""
    async with server.database.read() as session:
        standing = await feeds.standing(session)
    if after is None:
        return _end(domain_id, standing)
    if after.domain_id != domain_id:
        raise InvalidArgument("This cursor belongs to another feed.", field="after")
    _check(after, standing)
    return after


async def read(server: Server, scope: Scope, position: FeedCursor, *, limit: int) -> Batch:
    """The records of a scope among the next ones; `limit` at most. Raises CursorExpired."""
    async with server.database.read() as session:
        return await _read(session, scope, position, limit)


async def _read(session: AsyncSession, scope: Scope, position: FeedCursor, limit: int) -> Batch:
    # First how far it is complete, then what there is: the other way round, a commit between the two would be lost.
    standing = await feeds.standing(session)
    _check(position, standing)
    found = await feeds.after(session, scope, Position(position.number, position.content_id), limit=limit)
    records = [record for record in found if feeds.position(record).number < standing.complete]
    waits = len(records) < len(found)
    if len(records) == limit:
        end = FeedCursor(position.domain_id, standing.generation, *feeds.position(records[-1]))
    else:
        end = max(position, _end(position.domain_id, standing), key=_order)
    return Batch(end, records, is_full=len(records) == limit, waits=waits)


def _end(domain_id: str, standing: Standing) -> FeedCursor:
    """Behind all that is complete."""
    return FeedCursor(domain_id, standing.generation, standing.complete - 1, LAST)


def _order(position: FeedCursor) -> tuple[int, int]:
    return position.number, position.content_id


def _check(position: FeedCursor, standing: Standing) -> None:
    if position.generation != standing.generation or position.number >= standing.unused:
        raise CursorExpired("The feed has started anew since: list the records, and go on from now.", field="after")
