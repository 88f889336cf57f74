"""Inboxes: reading their counts, which are kept and not counted, and changing what lies in them.

Every change locks its inboxes first, writes one line into each one's log, and is announced after its commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access, checks, cursors, events, transaction
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import InvalidArgument, NotFound, PermissionDenied
from storage import changes, contents, inboxes, notifications
from storage.inboxes import Owner
from storage.models import ChangeKind, Inbox, InboxKind, Notification
from storage.scope import Scope
from storage.selected import Row

MARKED_BY = ("notification_id", "user_id", "is_read")
MAX_USERS = 100  # whose inboxes one call may empty: it is one transaction


class InboxState(NamedTuple):
    """An inbox as it was at one change; all zero for a user whom nobody has heard of."""

    unread_count: int
    unseen_count: int
    total_count: int
    position: StreamCursor

    @property
    def cursor(self) -> str:
        return cursors.for_stream(self.position)


@dataclass(frozen=True)
class Changed:
    """How many rows really changed, and the inbox after it where just one user's was concerned."""

    count: int
    inbox: InboxState | None


def state(inbox: Inbox | Row | None) -> InboxState:
    if inbox is None:
        return InboxState(0, 0, 0, cursors.BEGINNING)
    return InboxState(inbox.unread_count, inbox.unseen_count, inbox.total_count, events.head(inbox))


def cursor(inbox: Inbox, seq: int) -> str:
    """The stream cursor of a change of this inbox."""
    return cursors.for_stream(events.at(inbox, seq))


def own(caller: Caller) -> Owner:
    return inboxes.of_user(caller.domain_id, caller.user_id)


def scoped_to(caller: Caller, *, user_id: str | None, domain_id: str | None) -> Owner | None:
    """The inbox that a list with this filter is of; None when it is of more than one, or of none."""
    if caller.role is Role.USER:
        return own(caller) if user_id in (None, caller.user_id) else None
    if caller.role is Role.SERVICE or user_id is None:
        return None
    return inboxes.of_user(access.domain_of(caller, domain_id), user_id)


async def mine(server: Server, caller: Caller) -> InboxState | None:
    """The caller's own inbox; None for a service, which has none."""
    return None if caller.role is Role.SERVICE else state(await inboxes.find_kept(server.database, own(caller)))


async def of(server: Server, owner: Owner) -> InboxState:
    return state(await inboxes.find_kept(server.database, owner))


async def register(server: Server, caller: Caller, *, user_ids: Sequence[str], domain_id: str | None) -> int:
    """Make users known, so that what is said to the whole domain reaches them; how many were new."""
    access.require(caller, access.ADMINS)
    domain = access.domain_of(caller, domain_id)
    distinct = checks.identifiers(user_ids, "userIds")
    return await transaction.write(server, caller, lambda session: inboxes.register(session, domain, distinct))


async def set_read(
    server: Server, caller: Caller, *, notification_ids: Sequence[str], is_read: bool, origin_id: str | None
) -> Changed:
    """Mark notifications as read or unread; ids that are not the caller's are passed over."""
    access.require(caller, access.PEOPLE)
    distinct = checks.identifiers(notification_ids, "notificationIds")
    scope, origin, now = access.scope_of_id(caller), checks.origin(origin_id), server.clock()

    async def mark(session: AsyncSession) -> Sequence[Notification]:
        return await notifications.set_read(session, distinct, scope, is_read=is_read, now=now)

    def log(session: AsyncSession, inbox: Inbox, rows: Sequence[Notification]) -> None:
        inbox.unread_count += -len(rows) if is_read else len(rows)
        _log(session, inbox, ChangeKind.READ, now, notification_ids=_ids(rows), is_read=is_read, origin_id=origin)

    return await _change(server, caller, distinct, scope, mark, log)


async def mark_fetched(server: Server, caller: Caller, notification_ids: Sequence[str]) -> None:
    """Mark what a recipient has just been shown as read: one change, of what is still unread."""
    await set_read(server, caller, notification_ids=notification_ids, is_read=True, origin_id=None)


async def mark_all_read(server: Server, caller: Caller, *, up_to: str, origin_id: str | None) -> Changed:
    """Mark everything that came up to a position in the caller's inbox as read."""

    async def mark(session: AsyncSession, inbox: Inbox, seq: int, now: datetime) -> int:
        marked = await notifications.set_all_read(session, inbox, up_to=seq, now=now)
        inbox.unread_count -= marked
        return marked

    return await _change_up_to(server, caller, up_to, origin_id, ChangeKind.ALL_READ, mark)


async def mark_seen(server: Server, caller: Caller, *, up_to: str, origin_id: str | None) -> Changed:
    """Say that the caller has seen what came up to a position: the bell was opened, nothing was read."""

    async def mark(session: AsyncSession, inbox: Inbox, seq: int, _now: datetime) -> int:
        if seq <= inbox.seen_seq:
            return 0
        unseen = await notifications.count_after(session, inbox.inbox_id, seq)
        seen, inbox.unseen_count, inbox.seen_seq = inbox.unseen_count - unseen, unseen, seq
        return seen

    return await _change_up_to(server, caller, up_to, origin_id, ChangeKind.SEEN, mark)


async def delete(server: Server, caller: Caller, *, notification_ids: Sequence[str], origin_id: str | None) -> Changed:
    """Delete notifications; ids that are not the caller's are passed over."""
    access.require(caller, access.PEOPLE)
    distinct = checks.identifiers(notification_ids, "notificationIds")
    scope, origin, now = access.scope_of_id(caller), checks.origin(origin_id), server.clock()

    async def remove(session: AsyncSession) -> Sequence[Notification]:
        rows = await notifications.remove(session, distinct, scope)
        await contents.drop_unneeded(session, [row.content_id for row in rows])
        return rows

    def log(session: AsyncSession, inbox: Inbox, rows: Sequence[Notification]) -> None:
        _uncount(inbox, rows)
        _log(session, inbox, ChangeKind.REMOVED, now, notification_ids=_ids(rows), origin_id=origin)

    return await _change(server, caller, distinct, scope, remove, log)


async def delete_one(server: Server, caller: Caller, *, notification_id: str, origin_id: str | None) -> Changed:
    """Delete a notification. Raises NotFound."""
    checks.identifier(notification_id, "notificationId")
    changed = await delete(server, caller, notification_ids=[notification_id], origin_id=origin_id)
    if not changed.count:
        raise NotFound("There is no such notification.", field="notificationId")
    return changed


async def delete_all(
    server: Server,
    caller: Caller,
    *,
    users: Sequence[str] | None,
    up_to: str | None,
    domain_id: str | None,
    origin_id: str | None,
) -> int:
    """Delete everything in the caller's inbox, or in those of the users named; how many rows that were."""
    owners = _owners_to_empty(caller, users, domain_id)
    origin, now = checks.origin(origin_id), server.clock()
    position = None if up_to is None else cursors.stream_position(up_to, field="upTo")
    if position is not None and len(owners) != 1:
        raise InvalidArgument("A position belongs to one user's inbox.", field="upTo")

    async def work(session: AsyncSession) -> tuple[int, dict[Owner, int]]:
        found = [inbox for owner in sorted(owners) if (inbox := await inboxes.find(session, owner))]
        locked = await inboxes.lock(session, [inbox.inbox_id for inbox in found])
        removed: list[Notification] = []
        for inbox in locked.values():
            seq = inbox.last_seq if position is None else cursors.seq_within(inbox, position, field="upTo")
            removed += await empty(session, inbox, up_to=seq, now=now, origin_id=origin)
        await contents.drop_unneeded(session, [row.content_id for row in removed])
        return len(removed), heads_of(locked.values())

    removed, heads = await transaction.write(server, caller, work)
    await server.hub.publish(heads)
    return removed


async def empty(
    session: AsyncSession, inbox: Inbox, *, up_to: int, now: datetime, origin_id: str | None = None
) -> Sequence[Notification]:
    """Delete what a locked inbox has up to a sequence number; the rows that went. Their contents are the caller's."""
    rows = await notifications.remove_all(session, inbox.inbox_id, up_to=up_to)
    if rows:
        _uncount(inbox, rows)
        _log(session, inbox, ChangeKind.ALL_REMOVED, now, up_to=up_to, origin_id=origin_id)
    return rows


def heads_of(touched: Iterable[Inbox]) -> dict[Owner, int]:
    """How far these inboxes have come: what the hub is told."""
    return {inboxes.owner(inbox): inbox.last_seq for inbox in touched}


def to_mark(server: Server, caller: Caller, rows: Sequence[Notification | Row], mark_read: bool | None) -> list[str]:
    """Which of the rows in an answer become read by it: a user's own ones, unless the call or the server says no."""
    if not marked_by(server, caller, mark_read):
        return []
    return [row.notification_id for row in rows if row.user_id == caller.user_id and not row.is_read]


def marked_by(server: Server, caller: Caller, mark_read: bool | None) -> tuple[str, ...]:
    """What `to_mark` reads of each row: nothing where none becomes read."""
    wanted = server.mark_read_on_fetch if mark_read is None else mark_read
    return MARKED_BY if wanted and caller.role is Role.USER else ()


def _owners_to_empty(caller: Caller, users: Sequence[str] | None, domain_id: str | None) -> list[Owner]:
    domain = access.domain_of(caller, domain_id)
    if users is None and caller.role is Role.SERVICE:
        raise InvalidArgument("A service has no inbox: name the users.", field="users")
    access.require(caller, access.PEOPLE)
    named = [caller.user_id] if users is None else checks.identifiers(users, "users", most=MAX_USERS)
    if caller.role is Role.USER and named != [caller.user_id]:
        raise PermissionDenied("Other people's inboxes are out of reach.", field="users")
    return [inboxes.of_user(domain, user_id) for user_id in named]


async def _change(
    server: Server,
    caller: Caller,
    notification_ids: Sequence[str],
    scope: Scope,
    change: Callable[[AsyncSession], Awaitable[Sequence[Notification]]],
    log: Callable[[AsyncSession, Inbox, Sequence[Notification]], None],
) -> Changed:
    """Lock the inboxes of these notifications, change what is there, and log it in each inbox that it touched."""

    async def work(session: AsyncSession) -> tuple[int, list[Inbox]]:
        locked = await inboxes.lock(session, await notifications.inbox_ids(session, notification_ids, scope))
        rows = await change(session)
        by_inbox: dict[int, list[Notification]] = defaultdict(list)
        for row in rows:
            if row.inbox_id is not None:
                by_inbox[row.inbox_id].append(row)
        for inbox_id, changed in by_inbox.items():
            log(session, locked[inbox_id], changed)
        return len(rows), [locked[inbox_id] for inbox_id in by_inbox]

    count, touched = await transaction.write(server, caller, work)
    await server.hub.publish(heads_of(touched))
    return Changed(count, await _inbox_after(server, caller, touched))


async def _change_up_to(
    server: Server,
    caller: Caller,
    up_to: str,
    origin_id: str | None,
    kind: ChangeKind,
    mark: Callable[[AsyncSession, Inbox, int, datetime], Awaitable[int]],
) -> Changed:
    """Lock the caller's own inbox, change what lies up to a position, and log it where that was anything."""
    access.require(caller, access.PEOPLE)
    position, origin, now = cursors.stream_position(up_to, field="upTo"), checks.origin(origin_id), server.clock()

    async def work(session: AsyncSession) -> tuple[int, Inbox]:
        found = await inboxes.find(session, own(caller))
        assert found is not None  # the caller's first write has made it
        inbox = (await inboxes.lock(session, [found.inbox_id]))[found.inbox_id]
        seq = cursors.seq_within(inbox, position, field="upTo")
        count = await mark(session, inbox, seq, now)
        if count:
            _log(session, inbox, kind, now, up_to=seq, origin_id=origin)
        return count, inbox

    count, inbox = await transaction.write(server, caller, work)
    await server.hub.publish(heads_of([inbox]))
    return Changed(count, state(inbox))


async def _inbox_after(server: Server, caller: Caller, touched: Sequence[Inbox]) -> InboxState | None:
    users = [inbox for inbox in touched if inbox.kind is InboxKind.USER]
    if len(users) == 1:
        return state(users[0])
    return await mine(server, caller) if caller.role is Role.USER else None


def _uncount(inbox: Inbox, rows: Sequence[Notification]) -> None:
    inbox.total_count -= len(rows)
    if inbox.kind is InboxKind.USER:
        inbox.unread_count -= sum(not row.is_read for row in rows)
        inbox.unseen_count -= sum((row.seq or 0) > inbox.seen_seq for row in rows)


def _log(session: AsyncSession, inbox: Inbox, kind: ChangeKind, now: datetime, **what: Any) -> None:
    inbox.last_seq += 1
    changes.append(session, inbox, kind, now=now, **what)


def _ids(rows: Sequence[Notification]) -> list[str]:
    return [row.notification_id for row in rows]
