"""An inbox's change log as events: what is read from a position on, less what is gone already.

An Added or Read of what no longer exists is left out; its removal is always told. Gaps are judged before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import cursors, events
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired
from resolvers.events import Batch, Event, EventKind, Standing, Stood
from storage import changes, inboxes, lines
from storage.inboxes import Owner
from storage.lines import Line
from storage.models import Change, ChangeKind, Inbox, Notification
from storage.scope import Scope

EVERYTHING = Scope(None)  # that is in the inbox

_KINDS = {kind: EventKind(kind.value) for kind in ChangeKind}


async def start(server: Server, owner: Owner, after: StreamCursor | None) -> StreamCursor:
    """The position that a cursor names in this inbox; without one, its head. Raises InvalidArgument, CursorExpired."""
    async with server.database.read() as session:
        inbox = await inboxes.find(session, owner)
    return events.head(inbox) if after is None else events.at(inbox, cursors.seq_within(inbox, after, field="after"))


async def read(server: Server, owner: Owner, position: StreamCursor, *, limit: int, scope: Scope = EVERYTHING) -> Batch:
    """The next `limit` changes after a position, as events; of notifications, those in the scope came.

    Raises CursorExpired.
    """
    async with server.database.read() as session:
        inbox = await inboxes.find(session, owner)
        if inbox is None:
            return Batch(position, (), None)
        if position != cursors.BEGINNING and position.generation != inbox.generation:
            raise CursorExpired("This inbox has started anew: read it again.")
        log = await changes.after(session, inbox.inbox_id, position.seq, limit=limit)
        # PostgreSQL reads the inbox first: its log may have moved on, and been pruned, since.
        following = log[0].seq if log else inbox.last_seq + 1
        if limit and following != position.seq + 1:
            raise CursorExpired("The log no longer reaches back to this cursor: read the inbox again.")
        told = await _events(session, inbox, log, scope)
        return Batch(events.at(inbox, log[-1].seq) if log else position, told, inbox)


async def read_each(
    server: Server, positions: Sequence[StreamCursor], *, limit: int
) -> Callable[[StreamCursor], Batch | None]:
    """Tells the next changes after each of these positions in as many inboxes, `limit` at most; one query for all.

    Where nothing follows, or what does is none of the same log, there is no batch.
    """
    found = await lines.after(server.database, {each.inbox_id: each.seq for each in positions}, limit=limit)
    existing: Set[str] = frozenset()
    if marked := found.of_kind(ChangeKind.READ):
        async with server.database.read() as session:
            existing = await changes.existing_of(session, marked)

    def batch(position: StreamCursor) -> Batch | None:
        log = found.of(position.inbox_id)
        return _batch(log, existing) if log and _follows(log, position) else None

    return batch


async def reset(server: Server, owner: Owner) -> Event:
    """What is told instead of events that the log no longer has."""
    async with server.database.read() as session:
        return events.standing(EventKind.RESET, await inboxes.find(session, owner))


def _follows(log: Sequence[Line], position: StreamCursor) -> bool:
    return log[0].seq == position.seq + 1 and log[0].generation == position.generation


def _batch(log: Sequence[Line], existing: Set[str]) -> Batch:
    last = log[-1]
    inbox = Stood(last.inbox_id, last.generation, last.last_seq, last.unread_count, last.unseen_count)
    told = (_event(inbox, line, line.added, existing) for line in log)
    return Batch(events.at(inbox, last.seq), [event for event in told if event is not None], inbox)


async def _events(session: AsyncSession, inbox: Inbox, log: Sequence[Change], scope: Scope) -> list[Event]:
    rows = await changes.notifications_of(session, log, scope)
    existing = await changes.existing_of(session, log)
    told = (_event(inbox, change, rows.get(change.notification_id or ""), existing) for change in log)
    return [event for event in told if event is not None]


def _event(inbox: Standing, change: Change | Line, row: Notification | None, existing: Set[str]) -> Event | None:
    ids = change.notification_ids or []
    if change.kind is ChangeKind.READ:
        ids = [notification_id for notification_id in ids if notification_id in existing]
    if (change.kind is ChangeKind.ADDED and row is None) or (change.kind is ChangeKind.READ and not ids):
        return None
    return Event(
        kind=_KINDS[change.kind],
        position=events.at(inbox, change.seq),
        unread_count=change.unread_count,
        unseen_count=change.unseen_count,
        origin_id=change.origin_id,
        notification=row,
        notification_ids=ids,
        is_read=bool(change.is_read),
        up_to=cursors.BEGINNING if change.up_to is None else events.at(inbox, change.up_to),
    )
