"""What is past its time: the beginnings of change logs, old notifications, and deliveries that ended long ago.

Found from indexes, in small batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, bindparam
from sqlalchemy.orm import aliased
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import places
from storage.dialects import among
from storage.models import Attempt, Change, Delivery, Inbox, Notification

Ends = Mapping[int, int]  # by inbox: the sequence number up to which its log may go, or its notifications


async def aged(session: AsyncSession, *, before: datetime, limit: int) -> Ends:
    """Up to where logs hold changes from before an instant, as far as the oldest `limit` changes tell."""
    changed_at = col(Change.changed_at)
    oldest = select(Change.inbox_id, Change.seq).where(changed_at < before).order_by(changed_at).limit(limit)
    return _ends(list(await session.exec(oldest)))


async def overlong(session: AsyncSession, *, keep: int, limit: int) -> Ends:
    """Up to where logs have more than `keep` changes, as far as `limit` changes go."""
    first = select(func.min(Change.seq)).where(Change.inbox_id == Inbox.inbox_id).scalar_subquery()
    surplus = col(Inbox.last_seq) - keep
    logs = select(Inbox.inbox_id, first, surplus).where(surplus > 0, first <= surplus).limit(limit)
    ends: dict[int, int] = {}
    for inbox_id, begin, end in await session.exec(logs):
        if limit > 0:
            ends[inbox_id] = min(end, begin + limit - 1)
            limit -= ends[inbox_id] - begin + 1
    return ends


async def prune(session: AsyncSession, ends: Ends) -> None:
    """Forget what these logs begin with. What is left of a log has no gap, however the clocks of writers went."""
    beginning = delete(Change).where(col(Change.inbox_id) == bindparam("inbox"), col(Change.seq) <= bindparam("end"))
    rows = [{"inbox": inbox_id, "end": end} for inbox_id, end in sorted(ends.items())]
    await (await session.connection()).execute(beginning, rows)


async def past(session: AsyncSession, *, before: datetime, limit: int) -> Sequence[Notification]:
    """The oldest notifications of one domain from before an instant, if any domain has some."""
    first = select(func.min(Notification.domain_id).label("domain_id")).cte("domains", recursive=True)
    following = select(func.min(Notification.domain_id)).where(col(Notification.domain_id) > first.c.domain_id)
    domains = first.union_all(select(following.scalar_subquery()).where(first.c.domain_id.is_not(None)))
    some = aliased(Notification)
    has_some = _first(some.notification_id, col(some.domain_id) == domains.c.domain_id, *_past(some, before)).is_not(
        None
    )
    domain = select(domains.c.domain_id).where(has_some).limit(1).scalar_subquery()
    rows = select(Notification).where(col(Notification.domain_id) == domain, *_past(Notification, before))
    order = (col(Notification.created_at), col(Notification.notification_id))
    return list(await session.exec(rows.order_by(*order).limit(limit)))


async def forget_deliveries(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete those that ended longest ago, before an instant, with their attempts; how many.

    One that is being sent again, or deleted, at the same moment is passed over.
    """
    finished_at = col(Delivery.finished_at)
    oldest = select(Delivery.delivery_id).where(finished_at < before).order_by(finished_at).limit(limit)
    ended = list(await session.exec(oldest.with_for_update(skip_locked=True)))
    for model in (Attempt, Delivery):
        them = among(session, col(model.delivery_id), ended)
        await session.exec(delete(model).where(them), execution_options={"synchronize_session": False})
    return len(ended)


def ends_of(rows: Sequence[Notification]) -> Ends:
    """How far these notifications go in their inboxes."""
    return _ends([(row.inbox_id, row.seq) for row in rows if row.inbox_id is not None and row.seq is not None])


def _past(row: type[Notification], before: datetime) -> list[ColumnElement[bool]]:
    """Created before an instant, and so is everything that came before it into its inbox: that can go at once."""
    earlier = aliased(Notification)
    is_newer = (
        col(earlier.place) > places.of(col(row.inbox_id), 0),
        col(earlier.place) < col(row.place),
        col(earlier.created_at) >= before,
    )
    return [col(row.created_at) < before, _first(earlier.notification_id, *is_newer).is_(None)]


def _first(what: Any, *where: ColumnElement[bool]) -> ScalarSelect[Any]:
    """That of one such row. PostgreSQL would join an EXISTS with all there are; this it looks up."""
    return select(what).where(*where).limit(1).scalar_subquery()


def _ends(positions: Sequence[tuple[int, int]]) -> Ends:
    ends: dict[int, int] = {}
    for inbox_id, seq in positions:
        ends[inbox_id] = max(seq, ends.get(inbox_id, 0))
    return ends
