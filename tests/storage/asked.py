"""Notifications to be asked for, of a domain of their own, and asking for them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import notification_filters, notification_lists
from storage.engine import Database
from storage.models import Content, Inbox, InboxKind, Notification, NotificationLevel, NotificationType
from storage.notification_filters import CREATED_AT, ID
from storage.notifications import NotificationRow
from storage.paging import Bounds
from storage.queries.operators import Filter, Question
from storage.scope import Scope

Asked = tuple[str, str, Any]  # key, operator, value


async def store(database: Database, rows: Sequence[Mapping[str, Any]]) -> Scope:
    """Store notifications of these `topic`, `message`, `isRead`, ... in a new domain. The n-th is given the id n."""
    domain_id = uuid.uuid4().hex
    await add(database, domain_id, dict(enumerate(rows)))
    return Scope(domain_id)


async def add(database: Database, domain_id: str, rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Store notifications of these numbers, which are their ids; those of users in their inboxes."""

    async def work(session: AsyncSession) -> None:
        inboxes = {inbox.owner_id: inbox for inbox in await session.exec(select(Inbox).filter_by(domain_id=domain_id))}
        for number, row in rows.items():
            notification = _notification(domain_id, number, row)
            if notification.user_id is not None:
                _put(notification, inboxes.setdefault(notification.user_id, _inbox(domain_id, notification.user_id)))
            session.add(notification)

    await database.write(work)


def _inbox(domain_id: str, user_id: str) -> Inbox:
    return Inbox(domain_id=domain_id, kind=InboxKind.USER, owner_id=user_id, generation=1, last_seq=0, total_count=0)


def _put(notification: Notification, inbox: Inbox) -> None:
    inbox.last_seq += 1
    inbox.total_count += 1
    notification.inbox, notification.seq = inbox, inbox.last_seq


def _notification(domain_id: str, number: int, row: Mapping[str, Any]) -> Notification:
    return Notification(
        notification_id=f"{domain_id}-{number:04}",
        domain_id=domain_id,
        user_id=row.get("userId"),
        is_read=row.get("isRead", False),
        read_at=row.get("readAt"),
        content=Content(
            domain_id=domain_id,
            topic=row.get("topic", "t"),
            message=row.get("message", {}),
            notification_type=row.get("notificationType", NotificationType.INFO),
            notification_level=NotificationLevel.ALL,
        ),
        created_by="s",
        created_at=row["createdAt"],
    )


def question(
    every: Sequence[Asked] = (), either: Sequence[Asked] = (), *, now: datetime, keyword: str | None = None
) -> Question:
    return Question([Filter(*each) for each in every], [Filter(*each) for each in either], keyword, now)


async def find(database: Database, scope: Scope, asked: Question) -> list[int]:
    """Which rows, by their numbers, a question finds. What is kept has to find the same."""
    numbers = await find_in_session(database, scope, asked)
    if asked.is_keyword:
        wanted, bounds = notification_filters.Filter(question=asked), Bounds(limit=1_000)
        page = await notification_lists.page_kept(database, scope, wanted, (CREATED_AT, ID), bounds)
        assert sorted(map(number, page.rows)) == numbers
    return numbers


async def find_in_session(database: Database, scope: Scope, asked: Question) -> list[int]:
    """Their count has to be the same."""
    wanted = notification_filters.Filter(question=asked)
    async with database.read() as session:
        listed = notification_lists.InScope(scope)
        page = await listed.page(session, wanted, Bounds(limit=1_000))
        assert await listed.count(session, wanted) == len(page.rows)
    return sorted(map(number, page.rows))


def number(row: Notification | NotificationRow) -> int:
    return int(row.notification_id.rpartition("-")[2])
