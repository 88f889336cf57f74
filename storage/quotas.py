"""Quotas: how much may go through a protocol. What did go through it is in `storage.usages`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import paging
from storage.models import Quota
from storage.paging import Bounds, Order, Page
from storage.queries import fields, operators, sorting
from storage.queries.operators import EVERYTHING, Question
from storage.queries.sorting import Sort
from storage.scope import Scope
from storage.selected import ALL, Row, Selected, fetch, of_model


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow."""

    quota_id: str | None = None
    protocol_id: str | None = None
    question: Question = EVERYTHING


_COLUMNS = of_model(Quota)
ORDER: Order = (
    paging.key("createdAt", Quota.created_at, lambda row: row.created_at),
    paging.key("quotaId", Quota.quota_id, lambda row: row.quota_id),
)


async def create(session: AsyncSession, quota: Quota) -> None:
    session.add(quota)
    await session.flush()


async def is_limited(session: AsyncSession, protocol_id: str) -> bool:
    """Whether the protocol has a quota. With the protocol locked, that stays so."""
    return (await session.exec(select(exists().where(col(Quota.protocol_id) == protocol_id)))).one()


async def find(session: AsyncSession, quota_id: str, scope: Scope, selected: Selected = ALL) -> Row | None:
    found = await fetch(session, selected.of(Quota, _COLUMNS, _of(quota_id, scope)))
    return found[0] if found else None


async def lock(session: AsyncSession, quota_id: str, scope: Scope) -> Quota | None:
    """The quota: nothing is reserved under it by others until this transaction ends."""
    return (await session.exec(select(Quota).where(*_of(quota_id, scope)).with_for_update())).first()


def order(sort: Sequence[Sort]) -> Order:
    """By any of its fields. Raises Unaskable."""
    return sorting.order(fields.QUOTA, sort, otherwise=ORDER, unique=ORDER[-1:])


async def page(
    session: AsyncSession,
    scope: Scope,
    wanted: Filter,
    bounds: Bounds,
    *,
    order: Order = ORDER,
    selected: Selected = ALL,
) -> Page[Row]:
    statement = selected.of(Quota, _COLUMNS, _conditions(scope, wanted), order=order)
    return await paging.read(session, statement, order, bounds, selected)


async def count(session: AsyncSession, scope: Scope, wanted: Filter) -> int:
    return await paging.count(session, matching(scope, wanted))


async def remove(session: AsyncSession, quota: Quota) -> None:
    await session.exec(delete(Quota).where(col(Quota.quota_id) == quota.quota_id))


def matching(scope: Scope, wanted: Filter) -> SelectOfScalar[Quota]:
    return select(Quota).where(*_conditions(scope, wanted))


def _of(quota_id: str, scope: Scope) -> list[ColumnElement[bool]]:
    return [*_within(scope), col(Quota.quota_id) == quota_id]


def _conditions(scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    equals = ((Quota.quota_id, wanted.quota_id), (Quota.protocol_id, wanted.protocol_id))
    conditions = [col(column) == value for column, value in equals if value is not None]
    return [*_within(scope), *conditions, *operators.conditions(fields.QUOTA, wanted.question)]


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    return [] if scope.domain_id is None else [col(Quota.domain_id) == scope.domain_id]
