"""Deliveries and their attempts: the history that callers read, and its beginning. The queue is in `storage.queue`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, literal, text
from sqlalchemy.sql import operators as sql
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents, kept_pages, paging, statements, usages
from storage.columns import Text
from storage.dialects import NOW
from storage.engine import Database
from storage.kept import Kind
from storage.kept_pages import KeptPages
from storage.models import (
    Attempt,
    DecisionReason,
    Delivery,
    DeliveryState,
    Notification,
)
from storage.paging import Bounds, Order, Page
from storage.queries import fields
from storage.queries.operators import EVERYTHING, Question
from storage.records import Records, narrowed
from storage.scope import Scope
from storage.selected import ALL, Row, Selected, by_name
from storage.statements import Batch, Insert

# Spelled as in the partial indexes: a bound parameter would hide from the database that the index has all it asks for.
DUE = text("delivery.state IN ('PENDING', 'RETRYING')")
LEASED = text("delivery.state = 'SENDING'")

# Said of a delivery while it is being sent: it is not tried again.
WITHDRAWN = frozenset({DecisionReason.CANCELLED, DecisionReason.CHANNEL_DELETED})

NEWEST_FIRST: Order = (
    paging.key("createdAt", Delivery.created_at, lambda row: row.created_at),
    paging.key("deliveryId", Delivery.delivery_id, lambda row: row.delivery_id),
)


# What can be read of them, by the names of `storage.selected`.
_COLUMNS: Mapping[str, Any] = by_name(
    Delivery.delivery_id,
    Delivery.notification_id,
    Delivery.channel_id,
    Delivery.part,
    Delivery.protocol_id,
    Delivery.plugin_id,
    Delivery.state,
    Delivery.reason,
    Delivery.detail,
    Delivery.attempt_count,
    Delivery.next_attempt_at,
    Delivery.created_at,
    Delivery.finished_at,
    Delivery.domain_id,
)

# Which index leads to the rows of a list, by what is given of scope and filter; see those of notifications.
_LED_BY = {
    frozenset({"domain_id"}): "delivery_by_domain",
    frozenset({"domain_id", "user_id"}): "delivery_by_user",
}


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow; an empty list matches nothing."""

    delivery_ids: Collection[str] | None = None
    notification_id: str | None = None
    channel_id: str | None = None
    protocol_id: str | None = None
    states: Collection[DeliveryState] | None = None
    created_after: datetime | None = None  # exclusive
    created_before: datetime | None = None  # exclusive
    question: Question = EVERYTHING


def in_scope(scope: Scope) -> Records[Filter]:
    return Records(Delivery, _COLUMNS, fields.DELIVERY, NEWEST_FIRST, partial(_where, scope))


def _where(scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    return [
        *_within(scope),
        *narrowed(sql.in_op, (Delivery.delivery_id, wanted.delivery_ids), (Delivery.state, wanted.states)),
        *narrowed(
            sql.eq,
            (Delivery.notification_id, wanted.notification_id),
            (Delivery.channel_id, wanted.channel_id),
            (Delivery.protocol_id, wanted.protocol_id),
        ),
        *narrowed(sql.gt, (Delivery.created_at, wanted.created_after)),
        *narrowed(sql.lt, (Delivery.created_at, wanted.created_before)),
    ]


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    """A user sees what goes through own channels, a service what it led to, but not what goes through users' ones."""
    within = narrowed(
        sql.eq,
        (Delivery.domain_id, scope.domain_id),
        (Delivery.user_id, scope.user_id),
        (Delivery.created_by, scope.created_by),
    )
    return within if scope.created_by is None else [*within, col(Delivery.user_id).is_(None)]


class NewDelivery(NamedTuple):
    """What is enqueued, with the attributes of a Delivery."""

    delivery_id: str
    domain_id: str
    notification_id: str
    content_id: int
    protocol_id: str
    plugin_id: str
    created_by: str
    created_at: datetime
    next_attempt_at: datetime | None = None
    channel_id: str | None = None
    user_id: str | None = None
    part: int = 0
    destination: str = ""
    push_data: bytes | None = None
    state: DeliveryState = DeliveryState.PENDING
    reason: DecisionReason | None = None
    detail: str | None = None
    finished_at: datetime | None = None
    attempt_no: int = 0
    attempt_count: int = 0
    retries_from: int = 0
    counted_on: str | None = None
    lease_until: datetime | None = None


# One whose plugin names no destination is limited together with those of its channel; a push, of its protocol.
_DESTINATION = "coalesce(nullif({destination}, ''), {channel_id}, {protocol_id})"
_DUE_AT = "CASE WHEN {{state}} = 'PENDING' THEN coalesce({{next_attempt_at}}, {now}) ELSE {{next_attempt_at}} END"
_ENQUEUE = Insert(
    Delivery,
    computed={
        "destination": dict.fromkeys(NOW, _DESTINATION),
        "next_attempt_at": {dialect: _DUE_AT.format(now=now) for dialect, now in NOW.items()},
    },
)


async def enqueue(session: AsyncSession, deliveries: Sequence[NewDelivery | Delivery]) -> None:
    """Add new deliveries. A pending one without `next_attempt_at` is due at once."""
    await statements.run_all(session, enqueuing(deliveries))


def enqueuing(deliveries: Sequence[NewDelivery | Delivery]) -> Batch:
    """The same, together with other rows."""
    return Batch(_ENQUEUE, deliveries)


async def skip_open(
    session: AsyncSession, *, channel_id: str, reason: DecisionReason, now: datetime
) -> Sequence[Delivery]:
    """End the channel's deliveries that wait, and return them.

    One that is being sent is ended too, unless that attempt delivers it.
    """
    mine = col(Delivery.channel_id) == channel_id
    await change(session, mine, LEASED, reason=reason)
    skipped = (
        update(Delivery)
        .where(mine, DUE)
        .values(state=DeliveryState.SKIPPED, reason=reason, detail=None, next_attempt_at=None, finished_at=now)
        .returning(Delivery)
    )
    options = {"synchronize_session": False, "populate_existing": True}
    ended = (await session.exec(skipped, execution_options=options)).scalars().all()
    await uncount(session, ended)
    await contents.drop_unneeded(session, [row.content_id for row in ended])
    return ended


async def change(session: AsyncSession, *where: Any, **values: Any) -> None:
    """Give all such deliveries these values; rows that the session has read stay as they were."""
    statement = update(Delivery).where(*where).values(**values)
    await session.exec(statement, execution_options={"synchronize_session": False})


async def uncount(session: AsyncSession, ended: Sequence[Delivery]) -> None:
    """Give back what these deliveries, which ended before they were delivered, took of their protocols' quotas."""
    counted = Counter((row.protocol_id, row.counted_on) for row in ended if row.counted_on is not None)
    for (protocol_id, day), number in sorted(counted.items()):
        await usages.give_back(session, protocol_id, day, failed=False, number=number)
    for row in ended:
        row.counted_on = None
    await session.flush()


async def find_kept(database: Database, delivery_id: str, scope: Scope, selected: Selected = ALL) -> Row | None:
    found = await database.rows(_ONE, (delivery_id, scope), selected)
    return found[0] if found else None


async def page_kept(
    database: Database, scope: Scope, wanted: Filter, bounds: Bounds, *, selected: Selected = ALL
) -> Page[Row]:
    """A page of those in scope, newest first, where nothing but the filter's own fields is asked."""
    assert wanted.question.is_empty
    return await _PAGES.read(database, NEWEST_FIRST, selected, bounds, scope, wanted)


async def of_create(session: AsyncSession, notification_id: str, *, limit: int) -> list[Delivery]:
    """The deliveries of a notification and of its children, oldest first, and in the order of their recipients."""
    children = select(Notification.notification_id).where(col(Notification.parent_notification_id) == notification_id)
    own = select(literal(notification_id, Text()))
    statement = (
        select(Delivery)
        .where(col(Delivery.notification_id).in_(own.union_all(children)))
        .order_by(col(Delivery.created_at), col(Delivery.part), col(Delivery.delivery_id))
        .limit(limit)
    )
    return list(await session.exec(statement))


async def attempts(session: AsyncSession, delivery_ids: Collection[str]) -> dict[str, list[Attempt]]:
    """Each delivery's attempts, oldest first. Whose deliveries they are is for the caller to have asked before."""
    statement = (
        select(Attempt)
        .where(col(Attempt.delivery_id).in_(delivery_ids))
        .order_by(col(Attempt.delivery_id), col(Attempt.attempt_no))
    )
    by_delivery: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in await session.exec(statement):
        by_delivery[attempt.delivery_id].append(attempt)
    return by_delivery


def _one(selected: Selected, delivery_id: str, scope: Scope) -> Select[Any]:
    return selected.of(Delivery, _COLUMNS, [*_within(scope), col(Delivery.delivery_id) == delivery_id])


def _listed(order: Order, selected: Selected, scope: Scope, wanted: Filter) -> Select[Any]:
    return in_scope(scope).rows(wanted, selected, order=order)


def _led_by(_order: Order, bounds: Bounds, scope: Scope, wanted: Filter) -> str | None:
    return kept_pages.index(_LED_BY, bounds, scope, wanted)


_ONE = Kind(_one, lambda *_given: "sqlite_autoindex_delivery_1")
_PAGES = KeptPages(_listed, _led_by, Row)
