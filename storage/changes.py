"""The change log of inboxes: written by the transaction that made the change, read by streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import contains_eager
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.models import Change, ChangeKind, Content, Inbox, Notification


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


async def after(session: AsyncSession, inbox_id: int, seq: int, *, limit: int) -> list[Change]:
    """The next changes after a sequence number, oldest first."""
    following = select(Change).where(Change.inbox_id == inbox_id, Change.seq > seq)
    return list(await session.exec(following.order_by(col(Change.seq)).limit(limit)))


async def notifications_of(session: AsyncSession, changes: Sequence[Change]) -> dict[str, Notification]:
    """The notifications that these changes added and that still exist, by id."""
    added = [change.notification_id for change in changes if change.kind is ChangeKind.ADDED]
    if not added:
        return {}
    statement = (
        select(Notification)
        .join(Content)
        .join(Inbox)
        .options(contains_eager(Notification.content), contains_eager(Notification.inbox))  # type: ignore[arg-type]
        .where(col(Notification.notification_id).in_(added))
    )
    return {row.notification_id: row for row in await session.exec(statement)}


async def existing_of(session: AsyncSession, changes: Sequence[Change]) -> set[str]:
    """Which of the notifications that these changes marked as read, or unread, still exist."""
    marked = {
        marked for change in changes if change.kind is ChangeKind.READ for marked in change.notification_ids or []
    }
    if not marked:
        return set()
    rows = select(Notification.notification_id).where(col(Notification.notification_id).in_(marked))
    return set(await session.exec(rows))
