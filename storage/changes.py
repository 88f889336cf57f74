"""The change log of inboxes: written by the transaction that made the change, read by streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import sqlalchemy
from sqlalchemy.orm import Bundle
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import notifications
from storage.lines import Line
from storage.models import Change, ChangeKind, Content, Inbox, Notification
from storage.scope import Scope
from storage.statements import Batch, Insert

# Streams read thousands of these. Plain rows, which have the same attributes, cost a third of what objects do that a
# session would keep track of.
_CHANGE = [*sqlalchemy.inspect(Change).columns]
_OF_CONTENT = (Content.topic, Content.message, Content.notification_type, Content.notification_level)
_NOTIFICATION = [
    *sqlalchemy.inspect(Notification).columns,
    Bundle("content", *map(col, _OF_CONTENT)),
    Bundle("inbox", col(Inbox.inbox_id), col(Inbox.generation)),
]


def append(session: AsyncSession, inbox: Inbox, kind: ChangeKind, *, now: datetime, **what: Any) -> None:
    """Log the inbox's latest change, whose counts its locked row already holds."""
    session.add(
        Change(
            inbox_id=inbox.inbox_id,
            seq=inbox.last_seq,
            kind=kind,
            unread_count=inbox.unread_count,
            unseen_count=inbox.unseen_count,
            changed_at=now,
            **what,
        )
    )


class Addition(NamedTuple):
    """The change that a new notification is, with the counts of its inbox after it."""

    inbox_id: int
    seq: int
    notification_id: str
    unread_count: int
    unseen_count: int
    changed_at: datetime
    kind: ChangeKind = ChangeKind.ADDED


_ADDITIONS = Insert(Change, Addition._fields)


def adding(additions: Sequence[Addition]) -> Batch:
    """Logs what was added, in inboxes whose locked rows already count it."""
    return Batch(_ADDITIONS, additions)


async def after(session: AsyncSession, inbox_id: int, seq: int, *, limit: int) -> Sequence[Change]:
    """The next changes after a sequence number, oldest first: plain rows with the attributes of a Change."""
    following = sqlalchemy.select(*_CHANGE).where(col(Change.inbox_id) == inbox_id, col(Change.seq) > seq)
    rows = await session.exec(following.order_by(col(Change.seq)).limit(limit))  # type: ignore[call-overload]
    return cast(Sequence[Change], rows.all())


async def notifications_of(session: AsyncSession, changes: Sequence[Change], scope: Scope) -> dict[str, Notification]:
    """Those of a scope that these changes of one inbox added and that still exist, by id: plain rows too."""
    added = [change for change in changes if change.kind is ChangeKind.ADDED]
    if not added:
        return {}
    plain = sqlalchemy.select(*_NOTIFICATION).select_from(Notification).join(Content).join(Inbox)
    came = col(Notification.inbox_id) == added[0].inbox_id, col(Notification.seq).between(added[0].seq, added[-1].seq)
    rows = await session.exec(plain.where(*came, *notifications.within(scope, is_led=False)))  # type: ignore[call-overload]
    return {row.notification_id: cast(Notification, row) for row in rows}


async def existing_of(session: AsyncSession, changes: Iterable[Change | Line]) -> set[str]:
    """Which of the notifications that these changes marked as read, or unread, still exist."""
    marked = {
        marked for change in changes if change.kind is ChangeKind.READ for marked in change.notification_ids or []
    }
    if not marked:
        return set()
    rows = select(Notification.notification_id).where(col(Notification.notification_id).in_(marked))
    return set(await session.exec(rows))
