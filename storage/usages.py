"""Usages: what went through each protocol on each UTC day, and what its quota leaves.

Whoever reserves for several protocols in one transaction does so in the order of their ids: that is the locks' order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import ColumnElement, Select, bindparam, case
from sqlalchemy.sql import operators as sql
from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import paging
from storage.columns import Text
from storage.dialects import Several, insert, one_of
from storage.models import NotificationUsage, Quota
from storage.paging import Order
from storage.queries import fields
from storage.queries.operators import EVERYTHING, Question
from storage.records import Records, narrowed
from storage.scope import Scope
from storage.statements import Query


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow; days are spelled as in the rows, and both included."""

    protocol_id: str | None = None
    date_from: str | None = None
    date_to: str | None = None
    question: Question = EVERYTHING


@dataclass(frozen=True)
class _Used:
    """What a protocol has used of its quota."""

    day: int = 0
    month: int = 0


class _Limits(NamedTuple):
    """What a quota says."""

    day: int | None
    month: int | None


def _limits(dialect: str) -> Select[Any, Any, Any]:
    of_protocols = one_of(dialect, col(Quota.protocol_id), bindparam("protocol_ids", type_=Several(Text())))
    return sqlalchemy.select(col(Quota.protocol_id), col(Quota.day), col(Quota.month)).where(of_protocols)


_LIMITS = Query(_limits)

_COLUMNS = {field.attributes[-1]: field.column for field in fields.NOTIFICATION_USAGE.fields.values()}
LATEST_FIRST: Order = (
    paging.key("date", NotificationUsage.date, lambda row: row.date),
    paging.key("protocolId", NotificationUsage.protocol_id, lambda row: row.protocol_id),
)


def in_scope(scope: Scope) -> Records[Filter]:
    where = partial(_where, scope)
    return Records(NotificationUsage, _COLUMNS, fields.NOTIFICATION_USAGE, LATEST_FIRST, where, unique=2)


def _where(scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    domain_id, protocol_id = NotificationUsage.domain_id, NotificationUsage.protocol_id
    return [
        *narrowed(sql.eq, (domain_id, scope.domain_id), (protocol_id, wanted.protocol_id)),
        *narrowed(sql.ge, (NotificationUsage.date, wanted.date_from)),
        *narrowed(sql.le, (NotificationUsage.date, wanted.date_to)),
    ]


def day(moment: datetime) -> str:
    """The UTC day of a moment as the rows spell it: 2026-01-31."""
    return moment.astimezone(UTC).date().isoformat()


async def reserve(session: AsyncSession, protocol_id: str, domain_id: str, date: str, wanted: int) -> int:
    """Count up to `wanted` deliveries on this day, as many as the protocol's quota leaves; how many that were.

    The quota is locked, and with it every day of its month; then the day, which is all there is to lock without one.
    """
    quota = await _lock_quota(session, protocol_id)
    if quota is None:
        await _count(session, protocol_id, domain_id, date, wanted)
        return wanted
    await _count(session, protocol_id, domain_id, date, 0)
    left = _left(quota, (await _used(session, [protocol_id], date))[protocol_id])
    granted = wanted if left is None else min(wanted, left)
    if granted:
        await _count(session, protocol_id, domain_id, date, granted)
    return granted


async def give_back(session: AsyncSession, protocol_id: str, date: str, *, failed: bool, number: int) -> None:
    """Take deliveries out of the day that they were counted on; those that `failed` are counted as such."""
    fewer = case((col(NotificationUsage.count) > number, col(NotificationUsage.count) - number), else_=0)
    of_day = (col(NotificationUsage.protocol_id) == protocol_id, col(NotificationUsage.date) == date)
    changed = {"count": fewer, "fail_count": col(NotificationUsage.fail_count) + number * int(failed)}
    statement = update(NotificationUsage).where(*of_day).values(**changed)
    await session.exec(statement, execution_options={"synchronize_session": False})


async def remaining(session: AsyncSession, protocol_ids: Collection[str], date: str) -> dict[str, int]:
    """What is left on this day to those of these protocols whose quota says so: a snapshot, which locks nothing."""
    if not protocol_ids:
        return {}
    limits = {
        protocol_id: _Limits(day, month)
        for protocol_id, day, month in await _LIMITS.rows(session, protocol_ids=sorted(protocol_ids))
    }
    if not limits:
        return {}
    used = await _used(session, limits, date)
    left = {protocol_id: _left(limit, used.get(protocol_id, _Used())) for protocol_id, limit in limits.items()}
    return {protocol_id: number for protocol_id, number in left.items() if number is not None}


async def _lock_quota(session: AsyncSession, protocol_id: str) -> Quota | None:
    statement = select(Quota).where(col(Quota.protocol_id) == protocol_id).with_for_update()
    # A quota that this session has read before is read again: what it says counts from the lock on.
    return (await session.exec(statement, execution_options={"populate_existing": True})).first()


async def _count(session: AsyncSession, protocol_id: str, domain_id: str, date: str, more: int) -> None:
    """Count so many more on this day, whose row is made where it is missing, and locked."""
    row = NotificationUsage(protocol_id=protocol_id, date=date, domain_id=domain_id, count=more)
    upsert = insert(session, NotificationUsage).values(row.model_dump())
    statement = upsert.on_conflict_do_update(
        index_elements=["protocol_id", "date"], set_={"count": NotificationUsage.count + upsert.excluded.count}
    )
    await session.exec(statement, execution_options={"synchronize_session": False})


async def _used(session: AsyncSession, protocol_ids: Collection[str], date: str) -> dict[str, _Used]:
    count, on, month = col(NotificationUsage.count), col(NotificationUsage.date), date[: len("2026-01")]
    of_day = func.sum(case((on == date, count), else_=0))
    statement = (
        select(NotificationUsage.protocol_id, of_day, func.sum(count))
        .where(
            col(NotificationUsage.protocol_id).in_(protocol_ids),
            on >= f"{month}-01",
            on <= f"{month}-31",
        )
        .group_by(col(NotificationUsage.protocol_id))
    )
    return {protocol_id: _Used(int(day), int(month)) for protocol_id, day, month in await session.exec(statement)}


def _left(quota: Quota | _Limits, used: _Used) -> int | None:
    """What the quota leaves; None: it has no limits."""
    limits = ((quota.day, used.day), (quota.month, used.month))
    left = [max(0, limit - taken) for limit, taken in limits if limit is not None]
    return min(left, default=None)
