"""Quotas: how much may go through a protocol. What did go through it is in `storage.usages`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import ColumnElement
from sqlalchemy.sql import operators as sql
from sqlmodel import col, delete, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import paging
from storage.models import Quota
from storage.paging import Order
from storage.queries import fields
from storage.queries.operators import EVERYTHING, Question
from storage.records import Records, narrowed
from storage.scope import Scope
from storage.selected import of_model


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow."""

    quota_id: str | None = None
    protocol_id: str | None = None
    question: Question = EVERYTHING


_COLUMNS = of_model(Quota)
NEWEST_FIRST: Order = (
    paging.key("createdAt", Quota.created_at, lambda row: row.created_at),
    paging.key("quotaId", Quota.quota_id, lambda row: row.quota_id),
)


def in_scope(scope: Scope) -> Records[Filter]:
    return Records(Quota, _COLUMNS, fields.QUOTA, NEWEST_FIRST, partial(_where, scope))


def _where(scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    by_id = (Quota.quota_id, wanted.quota_id)
    return narrowed(sql.eq, (Quota.domain_id, scope.domain_id), by_id, (Quota.protocol_id, wanted.protocol_id))


async def create(session: AsyncSession, quota: Quota) -> None:
    session.add(quota)
    await session.flush()


async def is_limited(session: AsyncSession, protocol_id: str) -> bool:
    """Whether the protocol has a quota. With the protocol locked, that stays so."""
    return (await session.exec(select(exists().where(col(Quota.protocol_id) == protocol_id)))).one()


async def lock(session: AsyncSession, quota_id: str, scope: Scope) -> Quota | None:
    """The quota: nothing is reserved under it by others until this transaction ends."""
    mine = in_scope(scope).matching(Filter(quota_id=quota_id))
    return (await session.exec(mine.with_for_update())).first()


async def remove(session: AsyncSession, quota: Quota) -> None:
    await session.exec(delete(Quota).where(col(Quota.quota_id) == quota.quota_id))
