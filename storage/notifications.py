"""Notifications: rows in inboxes and records, with the content and the inbox they belong to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, ColumnElement, literal_column
from sqlalchemy.orm import contains_eager
from sqlmodel import col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import fields, operators, paging, search, sorting
from storage.engine import among, checked
from storage.models import Content, Inbox, Notification, NotificationLevel, NotificationType
from storage.operators import EVERYTHING, Question
from storage.paging import Bounds, Order, Page, SortKey
from storage.scope import Scope
from storage.sorting import Sort

# Spelled as the partial index spells it: neither engine recognises `is_read = false` as the same.
READ: ColumnElement[bool] = literal_column("notification.is_read", Boolean)
UNREAD: ColumnElement[bool] = literal_column("NOT notification.is_read", Boolean)

# What a list can be ordered by; `notification_id` makes every order total.
CREATED_AT = paging.key("CREATED_AT", Notification.created_at, lambda row: row.created_at)
TOPIC = paging.key("TOPIC", Content.topic, lambda row: row.content.topic)
TYPE = paging.key("TYPE", Content.notification_type, lambda row: row.content.notification_type)
LEVEL = paging.key("LEVEL", Content.notification_level, lambda row: row.content.notification_level)
ID = paging.key("ID", Notification.notification_id, lambda row: row.notification_id)


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow; an empty list matches nothing."""

    notification_ids: Sequence[str] | None = None
    topics: Sequence[str] | None = None
    notification_types: Sequence[NotificationType] | None = None
    notification_levels: Sequence[NotificationLevel] | None = None
    is_read: bool | None = None
    parent_notification_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    created_after: datetime | None = None  # exclusive
    created_before: datetime | None = None  # exclusive
    question: Question = EVERYTHING


def order(sort: Sequence[Sort]) -> Order:
    """By any of its fields. Raises Unaskable."""
    return sorting.order(fields.NOTIFICATION, sort, otherwise=(CREATED_AT, ID), unique=(ID,))


async def find(session: AsyncSession, notification_id: str, scope: Scope) -> Notification | None:
    return (await session.exec(rows(scope).where(Notification.notification_id == notification_id))).first()


async def page(session: AsyncSession, scope: Scope, wanted: Filter, order: Order, bounds: Bounds) -> Page[Notification]:
    statement = _shown(await _narrowed(session, scope, wanted))
    return await paging.read(session, statement, order, bounds)


async def count(session: AsyncSession, scope: Scope, wanted: Filter) -> int:
    statement = select(Notification.notification_id).join(Content).where(*await _narrowed(session, scope, wanted))
    return await paging.count(session, statement)


def matching(scope: Scope, wanted: Filter) -> SelectOfScalar[Notification]:
    """Those that a list has, without what a list shows of them."""
    return select(Notification).join(Content).where(*within(scope), *_conditions(wanted))


def rows(scope: Scope) -> SelectOfScalar[Notification]:
    """Those of a scope, each with its content and its inbox."""
    return _shown(within(scope))


def _shown(conditions: Sequence[ColumnElement[bool]]) -> SelectOfScalar[Notification]:
    return (
        select(Notification)
        .join(Content)
        .join(Inbox, isouter=True)
        .options(contains_eager(Notification.content), contains_eager(Notification.inbox))  # type: ignore[arg-type]
        .where(*conditions)
    )


async def inbox_ids(session: AsyncSession, notification_ids: Collection[str], scope: Scope) -> set[int]:
    """The inboxes that these notifications lie in: what has to be locked before they change."""
    statement = select(Notification.inbox_id).where(
        *within(scope), col(Notification.notification_id).in_(notification_ids)
    )
    return {inbox_id for inbox_id in await session.exec(statement) if inbox_id is not None}


async def set_read(
    session: AsyncSession, notification_ids: Collection[str], scope: Scope, *, is_read: bool, now: datetime
) -> Sequence[Notification]:
    """Mark those of these rows in users' inboxes that were not so before; only those are returned."""
    statement = (
        update(Notification)
        .where(
            *within(scope),
            col(Notification.notification_id).in_(notification_ids),
            col(Notification.user_id).is_not(None),
            col(Notification.is_read) != is_read,
        )
        .values(is_read=is_read, read_at=now if is_read else None)
        .returning(Notification)
    )
    return (await session.exec(statement)).scalars().all()


async def set_all_read(session: AsyncSession, inbox_id: int, *, up_to: int, now: datetime) -> int:
    """Mark an inbox's rows up to a sequence number that were unread; how many that were."""
    statement = (
        update(Notification)
        .where(col(Notification.inbox_id) == inbox_id, col(Notification.seq) <= up_to, UNREAD)
        .values(is_read=True, read_at=now)
    )
    marked = await session.exec(statement, execution_options={"synchronize_session": False})
    return marked.rowcount


async def count_after(session: AsyncSession, inbox_id: int, seq: int) -> int:
    """How many of an inbox's rows came after a sequence number."""
    statement = select(func.count()).select_from(Notification)
    return (await session.exec(statement.where(Notification.inbox_id == inbox_id, col(Notification.seq) > seq))).one()


async def remove(session: AsyncSession, notification_ids: Collection[str], scope: Scope) -> Sequence[Notification]:
    """Delete these rows; those that were there are returned. The caller keeps counts, log and contents right."""
    return await _delete(session, *within(scope), col(Notification.notification_id).in_(notification_ids))


async def remove_all(session: AsyncSession, inbox_id: int, *, up_to: int) -> Sequence[Notification]:
    """Delete an inbox's rows up to a sequence number; those that were there are returned."""
    return await _delete(session, col(Notification.inbox_id) == inbox_id, col(Notification.seq) <= up_to)


async def _delete(session: AsyncSession, *where: ColumnElement[bool]) -> Sequence[Notification]:
    return (await session.exec(delete(Notification).where(*where).returning(Notification))).scalars().all()


def within(scope: Scope, *, is_led: bool = True) -> list[ColumnElement[bool]]:
    """The conditions of a scope, which lead to its rows, unless something else does."""
    conditions: list[ColumnElement[bool]] = []
    if scope.domain_id is not None:
        domain_id = col(Notification.domain_id)
        conditions.append((domain_id if is_led else checked(domain_id)) == scope.domain_id)
    if scope.user_id is not None:
        conditions.append(col(Notification.user_id) == scope.user_id)
    if scope.created_by is not None:
        conditions += [col(Notification.created_by) == scope.created_by, col(Notification.user_id).is_(None)]
    return conditions


async def _narrowed(session: AsyncSession, scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    """All conditions of a list, and, where it helps, that of being among what an index of texts leads to."""
    conditions = _conditions(wanted)
    found = await search.candidates(session, wanted.question, scope, within(scope))
    if found is None:
        return [*within(scope), *conditions]
    return [*within(scope, is_led=False), among(session, col(Notification.content_id), found), *conditions]


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    lists = {
        Notification.notification_id: wanted.notification_ids,
        Content.topic: wanted.topics,
        Content.notification_type: wanted.notification_types,
        Content.notification_level: wanted.notification_levels,
    }
    equals = {
        Notification.parent_notification_id: wanted.parent_notification_id,
        Notification.project_id: wanted.project_id,
        Notification.user_id: wanted.user_id,
    }
    conditions: list[ColumnElement[bool]] = [
        col(column).in_(values) for column, values in lists.items() if values is not None
    ]
    conditions += [col(column) == value for column, value in equals.items() if value is not None]
    if wanted.is_read is not None:
        conditions.append(READ if wanted.is_read else UNREAD)
    if wanted.created_after is not None:
        conditions.append(col(Notification.created_at) > wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(col(Notification.created_at) < wanted.created_before)
    conditions += operators.conditions(fields.NOTIFICATION, wanted.question)
    return conditions + search.conditions(wanted.question)


__all__ = ["CREATED_AT", "ID", "LEVEL", "TOPIC", "TYPE", "Filter", "SortKey"]
