"""Deliveries and their attempts: the queue that workers claim from, and the history that callers read.

Due times and leases are the database's clock, never a process's. No rules: what follows from an outcome is decided
in `dispatch/`, and arrives here as a `Verdict`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, TextClause, literal, text
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import contents, paging
from storage.columns import Text
from storage.engine import database_time
from storage.models import (
    OPEN_STATES,
    Attempt,
    Channel,
    Content,
    DecisionReason,
    Delivery,
    DeliveryState,
    Notification,
    Protocol,
)
from storage.paging import Bounds, Order, Page
from storage.scope import Scope

# Spelled as in the partial indexes: a bound parameter would hide from the database that the index has all it asks for.
DUE = text("delivery.state IN ('PENDING', 'RETRYING')")
LEASED = text("delivery.state = 'SENDING'")

# Said of a delivery while it is being sent: it is not tried again.
WITHDRAWN = frozenset({DecisionReason.CANCELLED, DecisionReason.CHANNEL_DELETED})

NEWEST_FIRST: Order = (
    paging.key("createdAt", Delivery.created_at, lambda row: row.created_at),
    paging.key("deliveryId", Delivery.delivery_id, lambda row: row.delivery_id),
)


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


@dataclass(frozen=True)
class Claimed:
    """A delivery that is leased to its claimer, with all that sending it takes."""

    delivery: Delivery
    content: Content | None  # None never, while open deliveries keep their content
    protocol: Protocol | None  # None: deleted since
    channel: Channel | None  # None: a push, or deleted since


@dataclass(frozen=True)
class Verdict:
    """Where a delivery goes from SENDING."""

    state: DeliveryState
    reason: DecisionReason | None = None
    detail: str | None = None
    delay: float | None = None  # RETRYING: seconds until it is due again
    due_at: datetime | None = None  # PENDING: when


async def enqueue(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Add new deliveries. A pending one without `next_attempt_at` is due at once."""
    at_once = [row for row in deliveries if row.state is DeliveryState.PENDING and row.next_attempt_at is None]
    if at_once:
        now = await _time(session)
        for row in at_once:
            row.next_attempt_at = now
    session.add_all(deliveries)
    await session.flush()


async def claim(session: AsyncSession, *, limit: int, lease: float) -> list[Claimed]:
    """Lease what is due, for `lease` seconds: first what was leased before and not settled, then the longest due.

    What another worker is claiming at the same moment is passed over.
    """
    delivery_ids = await _first(session, LEASED, col(Delivery.lease_until), limit)
    delivery_ids += await _first(session, DUE, col(Delivery.next_attempt_at), limit - len(delivery_ids))
    if not delivery_ids:
        return []
    await _change(
        session,
        col(Delivery.delivery_id).in_(delivery_ids),
        state=DeliveryState.SENDING,
        attempt_no=Delivery.attempt_no + 1,
        next_attempt_at=None,
        lease_until=database_time(timedelta(seconds=lease)),
    )
    return await _load(session, delivery_ids)


async def renew(session: AsyncSession, leases: Collection[tuple[str, int]], *, lease: float) -> None:
    """Let these leases (delivery id, attempt number) last for `lease` seconds from now, where they are still held."""
    for delivery_id, attempt_no in sorted(leases):
        await _change(session, *_held(delivery_id, attempt_no), lease_until=database_time(timedelta(seconds=lease)))


async def release(session: AsyncSession, leases: Collection[tuple[str, int]]) -> None:
    """Give these leases back: what they are for is due again at once."""
    await renew(session, leases, lease=0)


async def release_all(session: AsyncSession) -> None:
    """Give every lease back: for the start of the only process that there is."""
    await _change(session, LEASED, lease_until=database_time())


async def record(
    session: AsyncSession, delivery: Delivery, verdict: Verdict, *, attempt: Attempt | None, now: datetime
) -> bool:
    """Move a claimed delivery on, with the attempt that led there. False, and nothing, where the lease was lost."""
    held = select(Delivery).where(*_held(delivery.delivery_id, delivery.attempt_no)).with_for_update()
    row = (await session.exec(held)).first()
    if row is None:
        return False
    if verdict.state not in (DeliveryState.DELIVERED, DeliveryState.DEAD) and row.reason in WITHDRAWN:
        verdict = Verdict(DeliveryState.SKIPPED, row.reason)
    if attempt is not None:
        session.add(attempt)
        row.attempt_count += 1
    row.state, row.reason, row.detail, row.lease_until = verdict.state, verdict.reason, verdict.detail, None
    row.next_attempt_at = verdict.due_at
    if verdict.delay is not None:
        row.next_attempt_at = await _time(session) + timedelta(seconds=verdict.delay)
    if verdict.state not in OPEN_STATES:
        row.finished_at = now
    await session.flush()
    if verdict.state not in OPEN_STATES:
        await contents.drop_unneeded(session, [row.content_id])
    return True


async def next_due(session: AsyncSession) -> float | None:
    """Seconds until `claim` has something to do; None: nothing is waiting."""
    due = await _soonest(session, DUE, col(Delivery.next_attempt_at))
    leased = await _soonest(session, LEASED, col(Delivery.lease_until))
    times = [moment for moment in (due, leased) if moment is not None]
    return max(0.0, (min(times) - await _time(session)).total_seconds()) if times else None


async def skip_open(
    session: AsyncSession, *, channel_id: str, reason: DecisionReason, now: datetime
) -> Sequence[Delivery]:
    """End the channel's deliveries that wait, and return them.

    One that is being sent is ended too, unless that attempt delivers it.
    """
    mine = col(Delivery.channel_id) == channel_id
    await _change(session, mine, LEASED, reason=reason)
    skipped = (
        update(Delivery)
        .where(mine, DUE)
        .values(state=DeliveryState.SKIPPED, reason=reason, detail=None, next_attempt_at=None, finished_at=now)
        .returning(Delivery)
    )
    options = {"synchronize_session": False, "populate_existing": True}
    ended = (await session.exec(skipped, execution_options=options)).scalars().all()
    await contents.drop_unneeded(session, [row.content_id for row in ended])
    return ended


async def find(session: AsyncSession, delivery_id: str, scope: Scope) -> Delivery | None:
    return (await session.exec(_rows(scope).where(col(Delivery.delivery_id) == delivery_id))).first()


async def page(session: AsyncSession, scope: Scope, wanted: Filter, bounds: Bounds) -> Page[Delivery]:
    """Newest first."""
    return await paging.read(session, matching(scope, wanted), NEWEST_FIRST, bounds)


def matching(scope: Scope, wanted: Filter) -> SelectOfScalar[Delivery]:
    return _rows(scope).where(*_conditions(wanted))


async def count(session: AsyncSession, scope: Scope, wanted: Filter) -> int:
    statement = select(Delivery.delivery_id).where(*_within(scope), *_conditions(wanted))
    return await paging.count(session, statement)


async def of_create(session: AsyncSession, notification_id: str, *, limit: int) -> list[Delivery]:
    """The deliveries of a notification and of its children, oldest first."""
    children = select(Notification.notification_id).where(col(Notification.parent_notification_id) == notification_id)
    own = select(literal(notification_id, Text()))
    statement = (
        select(Delivery)
        .where(col(Delivery.notification_id).in_(own.union_all(children)))
        .order_by(col(Delivery.created_at), col(Delivery.delivery_id))
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


async def _first(session: AsyncSession, where: TextClause, due: Any, limit: int) -> list[str]:
    # The time as a subquery: it is then asked once and bounds the index, rather than checked row by row.
    now = select(database_time()).scalar_subquery()
    statement = select(Delivery.delivery_id).where(where, due <= now).order_by(due).limit(limit)
    return list(await session.exec(statement.with_for_update(skip_locked=True)))


async def _load(session: AsyncSession, delivery_ids: Collection[str]) -> list[Claimed]:
    statement = (
        select(Delivery, Content, Protocol, Channel)
        .outerjoin(Content, col(Content.content_id) == col(Delivery.content_id))
        .outerjoin(Protocol, col(Protocol.protocol_id) == col(Delivery.protocol_id))
        .outerjoin(Channel, col(Channel.channel_id) == col(Delivery.channel_id))
        .where(col(Delivery.delivery_id).in_(delivery_ids))
    )
    return [Claimed(*row) for row in await session.exec(statement)]


async def _soonest(session: AsyncSession, where: TextClause, due: Any) -> datetime | None:
    return (await session.exec(select(due).where(where).order_by(due).limit(1))).first()


async def _change(session: AsyncSession, *where: Any, **values: Any) -> None:
    statement = update(Delivery).where(*where).values(**values)
    await session.exec(statement, execution_options={"synchronize_session": False})


async def _time(session: AsyncSession) -> datetime:
    moment: datetime = (await session.exec(select(database_time()))).one()
    return moment


def _held(delivery_id: str, attempt_no: int) -> list[Any]:
    return [col(Delivery.delivery_id) == delivery_id, col(Delivery.attempt_no) == attempt_no, LEASED]


def _rows(scope: Scope) -> SelectOfScalar[Delivery]:
    return select(Delivery).where(*_within(scope))


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    """A user sees what goes through own channels, a service what it led to, but not what goes through users' ones."""
    within: list[ColumnElement[bool]] = []
    if scope.domain_id is not None:
        within.append(col(Delivery.domain_id) == scope.domain_id)
    if scope.user_id is not None:
        within.append(col(Delivery.user_id) == scope.user_id)
    if scope.created_by is not None:
        within += [col(Delivery.created_by) == scope.created_by, col(Delivery.user_id).is_(None)]
    return within


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    lists = {Delivery.delivery_id: wanted.delivery_ids, Delivery.state: wanted.states}
    equals = {
        Delivery.notification_id: wanted.notification_id,
        Delivery.channel_id: wanted.channel_id,
        Delivery.protocol_id: wanted.protocol_id,
    }
    conditions: list[ColumnElement[bool]] = [
        col(column).in_(values) for column, values in lists.items() if values is not None
    ]
    conditions += [col(column) == value for column, value in equals.items() if value is not None]
    if wanted.created_after is not None:
        conditions.append(col(Delivery.created_at) > wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(col(Delivery.created_at) < wanted.created_before)
    return conditions
