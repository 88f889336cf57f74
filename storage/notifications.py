"""Notifications: rows in inboxes and records, with the content and the inbox they belong to. Not their lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    UnaryExpression,
    type_coerce,
)
from sqlalchemy.orm import contains_eager
from sqlalchemy.sql import visitors
from sqlalchemy.sql.operators import inv
from sqlalchemy.sql.util import ClauseAdapter
from sqlmodel import col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import places
from storage.dialects import among, checked
from storage.engine import Database
from storage.kept import Kind
from storage.models import Content, Inbox, Notification
from storage.paging import Order
from storage.scope import Scope
from storage.selected import ALL, Row, Selected, by_name

TABLE = Notification.__table__  # type: ignore[attr-defined]

# Spelled as the partial index spells it: neither engine recognises `is_read = false` as the same, and of a type that
# says it is a truth SQLite's dialect would make `= 1`.
READ: ColumnElement[Any] = type_coerce(TABLE.c.is_read, Integer())
UNREAD: ColumnElement[bool] = UnaryExpression(TABLE.c.is_read, operator=inv, type_=Boolean())

# What can be read of them, by the names of `storage.selected`.
_COLUMNS: Mapping[str, Any] = by_name(
    Notification.notification_id,
    Notification.parent_notification_id,
    Notification.is_read,
    Notification.read_at,
    Notification.user_id,
    Notification.project_id,
    Notification.domain_id,
    Notification.created_at,
    Notification.decisions,
    Notification.inbox_id,
    Notification.seq,
    Content.topic,
    Content.message,
    Content.notification_type,
    Content.notification_level,
    Inbox.generation,
)

# Contents follow from notifications: SQLite would begin with those that it searched for, and then look whose they are.
SAID = col(Content.content_id) == checked(col(Notification.content_id))


class NotificationRow(Row):
    """A notification as it was read: its content and its inbox are in the same row."""

    __slots__ = ()

    @property
    def content(self) -> NotificationRow:
        return self

    @property
    def inbox(self) -> NotificationRow | None:
        return None if self.inbox_id is None else self


async def find(session: AsyncSession, notification_id: str, scope: Scope) -> Notification | None:
    return (await session.exec(rows(scope).where(Notification.notification_id == notification_id))).first()


async def find_all(session: AsyncSession, notification_ids: Collection[str], scope: Scope) -> Sequence[Notification]:
    """Those of these that there are, in no order."""
    them = among(session, col(Notification.notification_id), notification_ids)
    return list(await session.exec(_shown([them, *within(scope, is_led=False)])))


async def find_kept(
    database: Database, notification_id: str, scope: Scope, selected: Selected = ALL
) -> NotificationRow | None:
    found = await database.rows(_ONE, (notification_id, scope), selected)
    return found[0] if found else None


def rows(scope: Scope) -> SelectOfScalar[Notification]:
    """Those of a scope, each with its content and its inbox."""
    return _shown(within(scope))


def _shown(conditions: Sequence[ColumnElement[bool]]) -> SelectOfScalar[Notification]:
    return (
        select(Notification)
        .join(Content, SAID)
        .join(Inbox, isouter=True)
        .options(contains_eager(Notification.content), contains_eager(Notification.inbox))  # type: ignore[arg-type]
        .where(*conditions)
    )


def _one(selected: Selected, notification_id: str, scope: Scope) -> Select[Any]:
    return selection(selected, (), [*within(scope), col(Notification.notification_id) == notification_id])


_ONE = Kind(_one, lambda *_given: "sqlite_autoindex_notification_1", NotificationRow)


def selection(selected: Selected, order: Order, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The selected columns of the rows that meet the conditions; no other table is read than these three name."""
    statement = selected.of(Notification, _COLUMNS, conditions, order=order)
    parts = (*statement.selected_columns, *conditions, *(key.column for key in order))
    named = {table for part in parts for table in _tables(part)}
    if Content.__tablename__ in named:
        statement = statement.join(Content, SAID)
    return statement.join(Inbox, isouter=True) if Inbox.__tablename__ in named else statement


def read_from(rows: FromClause, statement: Select[Any]) -> Select[Any]:
    """The statement, of only these of the notifications."""
    return ClauseAdapter(rows, adapt_from_selectables={TABLE}).traverse(statement)


def _tables(part: ColumnElement[Any]) -> set[str]:
    return {each.table.name for each in visitors.iterate(part.expression) if isinstance(each, Column)}


async def existing_of(session: AsyncSession, notification_ids: Collection[str]) -> set[str]:
    """Which of these still exist, whosesoever they are."""
    them = among(session, col(Notification.notification_id), {*notification_ids})
    return set(await session.exec(select(Notification.notification_id).where(them)))


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


async def set_all_read(session: AsyncSession, inbox: Inbox, *, up_to: int, now: datetime) -> int:
    """Mark a user's rows up to a sequence number that were unread; how many that were. No others are looked at."""
    of_user = (col(Notification.domain_id) == inbox.domain_id, col(Notification.user_id) == inbox.owner_id)
    of_inbox = checked(col(Notification.inbox_id)) == inbox.inbox_id
    statement = (
        update(Notification)
        .where(*of_user, UNREAD, of_inbox, col(Notification.seq) <= up_to)
        .values(is_read=True, read_at=now)
    )
    marked = await session.exec(statement, execution_options={"synchronize_session": False})
    return marked.rowcount


async def count_after(session: AsyncSession, inbox_id: int, seq: int) -> int:
    """How many of an inbox's rows came after a sequence number."""
    those = places.within(Notification.place, inbox_id, after=seq)
    return (await session.exec(select(func.count()).select_from(Notification).where(those))).one()


async def remove(session: AsyncSession, notification_ids: Collection[str], scope: Scope) -> Sequence[Notification]:
    """Delete these rows; those that were there are returned. The caller keeps counts, log and contents right."""
    return await _delete(session, *within(scope), col(Notification.notification_id).in_(notification_ids))


async def remove_all(session: AsyncSession, inbox_id: int, *, up_to: int) -> Sequence[Notification]:
    """Delete an inbox's rows up to a sequence number; those that were there are returned."""
    return await _delete(session, places.within(Notification.place, inbox_id, up_to=up_to))


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
