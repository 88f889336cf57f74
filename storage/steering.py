"""Steering deliveries by a caller's wish: once more, or not any more. Who may, and what is told, is for resolvers.

A delivery is locked before it is looked at, so a worker that records or claims it at the same time comes before or
after, never between.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, exists, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents, deliveries, states
from storage.deliveries import Filter
from storage.dialects import database_time
from storage.models import Content, DecisionReason, Delivery, DeliveryState
from storage.scope import Scope


async def lock(session: AsyncSession, delivery_id: str, scope: Scope) -> Delivery | None:
    """The delivery, not to be changed by others until this transaction ends."""
    statement = deliveries.in_scope(scope).matching(Filter(delivery_ids=[delivery_id])).with_for_update()
    return (await session.exec(statement)).first()


async def lock_ended(
    session: AsyncSession, scope: Scope, wanted: Filter, *, since: datetime, limit: int
) -> list[Delivery]:
    """Deliveries that ended undelivered, were made `since` then and can be sent again, locked: the longest ended.

    One that ends undelivered again comes last by that, and keeps none from its turn. Those that somebody else is
    changing are passed over.
    """
    has_content = exists().where(col(Content.content_id) == col(Delivery.content_id))
    statement = (
        deliveries.in_scope(scope)
        .matching(wanted)
        .where(col(Delivery.state).in_(states.REPLAYABLE), col(Delivery.created_at) >= since, has_content)
        .order_by(col(Delivery.finished_at), col(Delivery.delivery_id))
        .limit(limit)
    )
    return list(await session.exec(statement.with_for_update(skip_locked=True)))


async def revive(session: AsyncSession, rows: Sequence[Delivery]) -> list[Delivery]:
    """Make these locked deliveries due at once, with every retry ahead of them; those as they are then.

    One whose content is gone, or that is in no state to be sent again, stays as it is and is not among them.
    """
    kept = await contents.hold(session, [row.content_id for row in rows])
    sendable = [row.delivery_id for row in rows if row.content_id in kept]
    if not sendable:
        return []
    statement = (
        update(Delivery)
        .where(col(Delivery.delivery_id).in_(sendable), col(Delivery.state).in_(states.REVIVABLE))
        .values(
            state=DeliveryState.PENDING,
            reason=None,
            detail=None,
            retries_from=Delivery.attempt_count,
            next_attempt_at=database_time(),
            finished_at=None,
        )
        .returning(Delivery)
    )
    options = {"synchronize_session": False, "populate_existing": True}
    return list((await session.exec(statement, execution_options=options)).scalars())


async def withdraw(session: AsyncSession, row: Delivery, *, now: datetime) -> None:
    """End this locked delivery, which waits; of one that is being sent, say that it is not to be tried again."""
    if row.state is DeliveryState.SENDING:
        if row.reason not in deliveries.WITHDRAWN:
            row.reason = DecisionReason.CANCELLED
        return
    assert row.state in states.WAITING
    row.state, row.reason, row.detail = DeliveryState.SKIPPED, DecisionReason.CANCELLED, None
    row.next_attempt_at, row.finished_at = None, now
    await session.flush()
    await deliveries.uncount(session, [row])
    await contents.drop_unneeded(session, [row.content_id])
