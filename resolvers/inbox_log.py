"""An inbox's change log as events: what is read from a position on, less what is gone already.

An Added or Read of what no longer exists is left out; its removal is always told. Gaps are judged before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import cursors
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired
from storage import changes, inboxes
from storage.inboxes import Owner
from storage.models import Change, ChangeKind, Inbox, Notification
from storage.scope import Scope

EVERYTHING = Scope(None)  # that is in the inbox


class EventKind(StrEnum):
    ADDED = "ADDED"
    READ = "READ"
    REMOVED = "REMOVED"
    ALL_READ = "ALL_READ"
    SEEN = "SEEN"
    ALL_REMOVED = "ALL_REMOVED"
    SYNCED = "SYNCED"  # nothing was missed up to here
    RESET = "RESET"  # something was missed: read the inbox anew, and go on from here


_KINDS = {kind: EventKind(kind.value) for kind in ChangeKind}


@dataclass(frozen=True)
class Event:
    """One change of an inbox, with the counts after it. What its kind does not have is empty."""

    kind: EventKind
    position: StreamCursor
    unread_count: int
    unseen_count: int
    origin_id: str | None = None
    notification: Notification | None = None
    notification_ids: Sequence[str] = ()
    is_read: bool = False
    up_to: StreamCursor = cursors.BEGINNING


@dataclass(frozen=True)
class Batch:
    """The next events of a log, where they leave it, and how it stood then."""

    position: StreamCursor
    events: Sequence[Event]
    inbox: Inbox | None  # None for a user whom nobody has heard of

    @property
    def has_more(self) -> bool:
        return self.inbox is not None and self.inbox.last_seq > self.position.seq

    @property
    def is_last(self) -> bool:
        """Whether the inbox stands as it leaves it: what comes later is announced to whoever watched before."""
        return self.inbox is None or self.inbox.last_seq == self.position.seq


async def start(server: Server, owner: Owner, after: StreamCursor | None) -> StreamCursor:
    """The position that a cursor names in this inbox; without one, its head. Raises InvalidArgument, CursorExpired."""
    async with server.database.read() as session:
        inbox = await inboxes.find(session, owner)
    return head(inbox) if after is None else _at(inbox, cursors.seq_within(inbox, after, field="after"))


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
        events = await _events(session, inbox, log, scope)
        return Batch(_at(inbox, log[-1].seq) if log else position, events, inbox)


async def reset(server: Server, owner: Owner) -> Event:
    """What is told instead of events that the log no longer has."""
    async with server.database.read() as session:
        return standing(EventKind.RESET, await inboxes.find(session, owner))


def standing(kind: EventKind, inbox: Inbox | None) -> Event:
    """How an inbox stands at its head."""
    if inbox is None:
        return Event(kind, cursors.BEGINNING, 0, 0)
    return Event(kind, head(inbox), inbox.unread_count, inbox.unseen_count)


def head(inbox: Inbox | None) -> StreamCursor:
    return _at(inbox, 0 if inbox is None else inbox.last_seq)


def _at(inbox: Inbox | None, seq: int) -> StreamCursor:
    return cursors.BEGINNING if inbox is None else StreamCursor(inbox.inbox_id, inbox.generation, seq)


async def _events(session: AsyncSession, inbox: Inbox, log: Sequence[Change], scope: Scope) -> list[Event]:
    rows = await changes.notifications_of(session, log, scope)
    existing = await changes.existing_of(session, log)
    events = (_event(inbox, change, rows.get(change.notification_id or ""), existing) for change in log)
    return [event for event in events if event is not None]


def _event(inbox: Inbox, change: Change, row: Notification | None, existing: set[str]) -> Event | None:
    ids = change.notification_ids or []
    if change.kind is ChangeKind.READ:
        ids = [notification_id for notification_id in ids if notification_id in existing]
    if (change.kind is ChangeKind.ADDED and row is None) or (change.kind is ChangeKind.READ and not ids):
        return None
    return Event(
        kind=_KINDS[change.kind],
        position=_at(inbox, change.seq),
        unread_count=change.unread_count,
        unseen_count=change.unseen_count,
        origin_id=change.origin_id,
        notification=row,
        notification_ids=ids,
        is_read=bool(change.is_read),
        up_to=cursors.BEGINNING if change.up_to is None else _at(inbox, change.up_to),
    )
