"""Notifications: rows in inboxes and records, with the content and the inbox they belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, literal_column
from sqlalchemy.orm import contains_eager
from sqlalchemy.sql import visitors
from sqlmodel import col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import kept_pages, paging
from storage.engine import Database, among, checked
from storage.kept import Kind
from storage.kept_pages import KeptPages
from storage.models import Content, Inbox, Notification, NotificationLevel, NotificationType
from storage.paging import Bounds, Order, Page, SortKey
from storage.queries import fields, operators, search, sorting
from storage.queries.operators import EVERYTHING, Question
from storage.queries.search import Walk
from storage.queries.sorting import Sort
from storage.scope import Scope
from storage.selected import ALL, Row, Selected, by_name

# Spelled as the partial index spells it: neither engine recognises `is_read = false` as the same, and of a type that
# says it is a truth SQLite's dialect would make `= 1`.
READ: ColumnElement[bool] = literal_column("notification.is_read")
UNREAD: ColumnElement[bool] = literal_column("NOT notification.is_read")

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

# Which index leads to the rows of a list in NEWEST_FIRST, by what is given of scope and filter: it has them in this
# order, and nothing else is asked of them, so that a page costs the same wherever it is in whatever there is.
_LED_BY = {
    frozenset({"domain_id"}): "notification_by_domain",
    frozenset({"domain_id", "user_id"}): "notification_by_user",
    frozenset({"domain_id", "user_id", "is_read"}): "notification_unread",
    frozenset({"domain_id", "project_id"}): "notification_by_project",
    frozenset({"domain_id", "created_by"}): "notification_by_creator",
}

# Contents follow from notifications: SQLite would begin with those that it searched for, and then look whose they are.
SAID = col(Content.content_id) == checked(col(Notification.content_id))

# What a list can be ordered by; `notification_id` makes every order total.
CREATED_AT = paging.key("CREATED_AT", Notification.created_at, lambda row: row.created_at)
TOPIC = paging.key("TOPIC", Content.topic, lambda row: row.content.topic)
TYPE = paging.key("TYPE", Content.notification_type, lambda row: row.content.notification_type)
LEVEL = paging.key("LEVEL", Content.notification_level, lambda row: row.content.notification_level)
ID = paging.key("ID", Notification.notification_id, lambda row: row.notification_id)


class NotificationRow(Row):
    """A notification as it was read: its content and its inbox are in the same row."""

    __slots__ = ()

    @property
    def content(self) -> NotificationRow:
        return self

    @property
    def inbox(self) -> NotificationRow | None:
        return None if self.inbox_id is None else self


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


async def find_all(session: AsyncSession, notification_ids: Collection[str], scope: Scope) -> Sequence[Notification]:
    """Those of these that there are, in no order."""
    them = among(session, col(Notification.notification_id), notification_ids)
    return list(await session.exec(_shown([them, *within(scope, is_led=False)])))


async def find_kept(
    database: Database, notification_id: str, scope: Scope, selected: Selected = ALL
) -> NotificationRow | None:
    found = await database.rows(_ONE, (notification_id, scope), selected)
    return found[0] if found else None


async def page(
    session: AsyncSession, scope: Scope, wanted: Filter, order: Order, bounds: Bounds, selected: Selected = ALL
) -> Page[NotificationRow]:
    walk = _walk(scope, wanted, order, bounds)
    statement = _selection(selected, order, await _narrowed(session, scope, wanted, walk))
    return await paging.read(session, statement, order, bounds, selected, kind=NotificationRow)


async def page_kept(
    database: Database, scope: Scope, wanted: Filter, order: Order, bounds: Bounds, selected: Selected = ALL
) -> Page[NotificationRow]:
    """The same, where nothing but the filter's own fields is asked."""
    assert wanted.question.is_empty
    return await _PAGES.read(database, order, selected, bounds, scope, wanted)


async def count(session: AsyncSession, scope: Scope, wanted: Filter) -> int:
    return await paging.count(session, await matching(session, scope, wanted))


async def matching(session: AsyncSession, scope: Scope, wanted: Filter) -> SelectOfScalar[Notification]:
    """All that a list has, without what a list shows of them."""
    conditions = await _narrowed(session, scope, wanted, _walk(scope, wanted))
    return select(Notification).join(Content, SAID).where(*conditions)


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
    return _selection(selected, (), [*within(scope), col(Notification.notification_id) == notification_id])


def _listed(order: Order, selected: Selected, scope: Scope, wanted: Filter) -> Select[Any]:
    return _selection(selected, order, [*within(scope), *_conditions(wanted)])


def _led_by(order: Order, bounds: Bounds, scope: Scope, wanted: Filter) -> str | None:
    if wanted.is_read or not _is_indexed(order):  # what was read lies among what was not
        return None
    return kept_pages.index(_LED_BY, bounds, scope, wanted)


_ONE = Kind(_one, lambda *_given: "sqlite_autoindex_notification_1", NotificationRow)
_PAGES = KeptPages(_listed, _led_by, NotificationRow)


def _selection(selected: Selected, order: Order, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """The selected columns of the rows that meet the conditions; no other table is read than these three name."""
    statement = selected.of(Notification, _COLUMNS, conditions, order=order)
    parts = (*statement.selected_columns, *conditions, *(key.column for key in order))
    named = {table for part in parts for table in _tables(part)}
    if Content.__tablename__ in named:
        statement = statement.join(Content, SAID)
    return statement.join(Inbox, isouter=True) if Inbox.__tablename__ in named else statement


def _tables(part: ColumnElement[Any]) -> set[str]:
    return {each.table.name for each in visitors.iterate(part.expression) if isinstance(each, Column)}


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


async def _narrowed(session: AsyncSession, scope: Scope, wanted: Filter, walk: Walk) -> list[ColumnElement[bool]]:
    """All conditions of a list, and, where it helps, that of being among what an index of texts leads to."""
    found = await search.candidates(session, wanted.question, scope, walk)
    if found is None:
        return [*within(scope), *walk.asked]
    return [*within(scope, is_led=False), among(session, col(Notification.content_id), found), *walk.asked]


def _walk(scope: Scope, wanted: Filter, order: Order = (), bounds: Bounds | None = None) -> Walk:
    """Through a page's rows, where an index has them in its order, and else through all, the newest first."""
    leading, asked = _leading(scope, wanted), _conditions(wanted)
    if bounds is None or not _is_indexed(order):
        return Walk(leading, asked, paging.directions((CREATED_AT, ID), backwards=False))
    directions = paging.directions(order, backwards=bounds.backwards)
    return Walk([*leading, *paging.within(order, bounds)], asked, directions, wanted=bounds.offset + bounds.limit + 1)


def _is_indexed(order: Order) -> bool:
    """Whether it is the one that the indexes have rows in, or its reverse."""
    columns = [getattr(key.column, "key", None) for key in order]
    return columns == ["created_at", "notification_id"] and order[0].descending == order[1].descending


def _leading(scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    """The conditions that an index answers together: those of the scope, and of a whole domain's one more."""
    if scope.user_id is not None or scope.created_by is not None:
        return within(scope)
    equals = {
        Notification.parent_notification_id: wanted.parent_notification_id,
        Notification.user_id: wanted.user_id,
        Notification.project_id: wanted.project_id,
    }
    given = [col(column) == value for column, value in equals.items() if value is not None]
    return [*within(scope), *given[:1]]


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
    return search.conditions(wanted.question) + conditions  # the cheap ones first


__all__ = ["CREATED_AT", "ID", "LEVEL", "TOPIC", "TYPE", "Filter", "SortKey"]
