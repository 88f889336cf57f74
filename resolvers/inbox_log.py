"""An inbox's change log as events: what is read from a position on, less what is gone already.

An Added or Read of what no longer exists is left out; its removal is always told. Gaps are judged before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from operator import itemgetter
from typing import Any

from resolvers import cursors, events
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired
from resolvers.events import Batch, Event, EventKind, Stood
from storage import added_rows, inboxes, lines, notifications
from storage.inboxes import Owner
from storage.lines import Found, Line
from storage.models import ChangeKind

Following = Callable[[StreamCursor], Batch | None]

_KINDS = {kind.value: EventKind(kind.value) for kind in ChangeKind}
_ADDED, _READ = EventKind.ADDED, EventKind.READ
_PLACE_AND_COUNTS = itemgetter(
    *map(added_rows.POSITIONS.__getitem__, ("inbox_id", "generation", "seq", "unread_count", "unseen_count"))
)


async def start(server: Server, owner: Owner, after: StreamCursor | None) -> StreamCursor:
    """The position that a cursor names in this inbox; without one, its head. Raises InvalidArgument, CursorExpired."""
    return (await opened(server, owner, after)).position


async def opened(server: Server, owner: Owner, after: StreamCursor | None) -> Batch:
    """Nothing yet, at that position. Raises InvalidArgument, CursorExpired."""
    inbox = await inboxes.find_kept(server.database, owner)
    seq = None if after is None else cursors.seq_within(inbox, after, field="after")
    return Batch(events.head(inbox) if seq is None else events.at(inbox, seq), (), inbox)


async def read(server: Server, owner: Owner, position: StreamCursor, *, limit: int) -> Batch:
    """The next `limit` changes after a position, as events. Raises CursorExpired."""
    await asyncio.sleep(0)  # what follows may be done at once, and who catches up reads again and again
    inbox = await inboxes.find_kept(server.database, owner)
    if inbox is None:
        return Batch(position, (), None)
    if position != cursors.BEGINNING and position.generation != inbox.generation:
        raise CursorExpired("This inbox has started anew: read it again.")
    position = events.at(inbox, position.seq)
    following = await _following(server, [position], limit)
    if batch := following(position):
        return batch
    # The inbox was read first: its log may have moved on, and been pruned, since. Then the next read shows that.
    if limit and inbox.last_seq != position.seq:
        raise CursorExpired("The log no longer reaches back to this cursor: read the inbox again.")
    return Batch(position, (), inbox)


async def read_each(server: Server, positions: Sequence[StreamCursor], *, limit: int) -> Following:
    """Tells the next changes after each of these positions in as many inboxes, `limit` at most; one query for all.

    Where nothing follows, or what does is none of the same log, there is no batch.
    """
    return await _following(server, positions, limit)


async def _following(server: Server, positions: Sequence[StreamCursor], limit: int) -> Following:
    found = await lines.after(server.database, {each.inbox_id: each.seq for each in positions}, limit=limit)
    existing: Set[str] = frozenset()
    if marked := [notification_id for line in found.of_kind(_READ) for notification_id in line.ids]:
        async with server.database.read() as session:
            existing = await notifications.existing_of(session, marked)

    def batch(position: StreamCursor) -> Batch | None:
        log = found.of(position.inbox_id)
        return _batch(found, log, existing) if log and _follows(log[0], position) else None

    return batch


def brought(shared: Any, own: Any) -> Event | None:
    """The event of a change whose news brought it along; None where that is of another version."""
    row = added_rows.received(shared, own)
    if row is None:
        return None
    inbox_id, generation, seq, unread_count, unseen_count = _PLACE_AND_COUNTS(row)
    return Event(_ADDED, StreamCursor(inbox_id, generation, seq), unread_count, unseen_count, None, row)


async def reset(server: Server, owner: Owner) -> Event:
    """What is told instead of events that the log no longer has."""
    async with server.database.read() as session:
        return events.standing(EventKind.RESET, await inboxes.find(session, owner))


def _follows(line: Line, position: StreamCursor) -> bool:
    return line.seq == position.seq + 1 and line.generation == position.generation  # type: ignore[no-any-return]


def _batch(found: Found, log: Sequence[Line], existing: Set[str]) -> Batch:
    told = [event for line in log if (event := _event(found, line, existing)) is not None]
    last = log[-1]
    inbox = Stood(last.inbox_id, last.generation, last.last_seq, last.unread_count, last.unseen_count)
    return Batch(events.at(inbox, last.seq), told, inbox)


def _event(found: Found, line: Line, existing: Set[str]) -> Event | None:
    kind = _KINDS[line.kind]
    position = StreamCursor(line.inbox_id, line.generation, line.seq)
    what = kind, position, line.unread_count, line.unseen_count, line.origin_id
    if kind is _ADDED:
        row = found.added(line)
        return None if row is None else Event(*what, row)
    ids = line.ids
    if kind is _READ:
        ids = [notification_id for notification_id in ids if notification_id in existing]
        return Event(*what, None, ids, bool(line.marked_read)) if ids else None
    up_to = cursors.BEGINNING if line.up_to is None else position._replace(seq=line.up_to)
    return Event(*what, notification_ids=ids, up_to=up_to)
