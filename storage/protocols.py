"""Protocols: in what way. No rules about plugins: options and secrets are stored as they come, secrets sealed.

Every domain has an INTERNAL protocol from the start. Nothing is stored for it until the domain's first write that
concerns protocols; until then reads select from the stored rows and a literal one beside them, so that filters,
pages and counts treat it like any other row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, literal, union_all
from sqlalchemy.orm import aliased
from sqlmodel import col, delete, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import ids, paging
from storage.engine import insert
from storage.models import Channel, Protocol, ProtocolType, Quota, ResourceState
from storage.paging import Bounds, Order, Page
from storage.queries import fields, operators, sorting
from storage.queries.operators import EVERYTHING, Question
from storage.queries.sorting import Sort
from storage.scope import Scope
from storage.selected import ALL, Row, Selected, fetch, of_model

INTERNAL_NAME = "Internal"
# Stored or not, the INTERNAL protocol was created before all others: its place in a list never changes.
INTERNAL_SINCE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow."""

    protocol_id: str | None = None
    name: str | None = None
    state: ResourceState | None = None
    protocol_type: ProtocolType | None = None
    question: Question = EVERYTHING


def internal(domain_id: str) -> Protocol:
    """The domain's INTERNAL protocol as it is before anybody changed it."""
    return Protocol(
        protocol_id=ids.internal_protocol(domain_id),
        domain_id=domain_id,
        name=INTERNAL_NAME,
        protocol_type=ProtocolType.INTERNAL,
        created_at=INTERNAL_SINCE,
    )


async def ensure_internal(session: AsyncSession, domain_id: str) -> None:
    """Store the domain's INTERNAL protocol unless it is. The first thing of a write that concerns protocols."""
    statement = insert(session, Protocol).values(internal(domain_id).model_dump())
    await session.exec(statement.on_conflict_do_nothing(index_elements=["protocol_id"]))


async def create(session: AsyncSession, protocol: Protocol) -> None:
    session.add(protocol)
    await session.flush()


async def is_name_taken(session: AsyncSession, domain_id: str, name: str, *, besides: str | None = None) -> bool:
    """Whether another protocol than `besides` has this name.

    One that is being created at the same time is not seen. The unique constraint then fails the later transaction,
    which runs again and sees it.
    """
    statement = select(Protocol.protocol_id).where(
        col(Protocol.domain_id) == domain_id, col(Protocol.name) == name, col(Protocol.protocol_id) != (besides or "")
    )
    return (await session.exec(statement)).first() is not None


async def find(session: AsyncSession, protocol_id: str, scope: Scope) -> Protocol | None:
    """The protocol; the INTERNAL one of the scope's domain even when it is not stored."""
    entity = _seen_in(scope)
    return (await session.exec(select(entity).where(col(entity.protocol_id) == protocol_id))).first()


async def show(session: AsyncSession, protocol_id: str, scope: Scope, selected: Selected = ALL) -> Row | None:
    """The same, as far as it is selected."""
    entity = _seen_in(scope)
    found = await fetch(session, selected.of(entity, of_model(entity), [col(entity.protocol_id) == protocol_id]))
    return found[0] if found else None


async def lock(session: AsyncSession, protocol_id: str, scope: Scope) -> Protocol | None:
    """The stored protocol, not to be changed, nor channels added to it, by others until this transaction ends."""
    statement = select(Protocol).where(col(Protocol.protocol_id) == protocol_id)
    if scope.domain_id is not None:
        statement = statement.where(col(Protocol.domain_id) == scope.domain_id)
    return (await session.exec(statement.with_for_update())).first()


def order(sort: Sequence[Sort]) -> Order:
    """By any of its fields. Raises Unaskable."""
    return _order(Protocol, sort)


async def page(
    session: AsyncSession,
    domain_id: str,
    wanted: Filter,
    bounds: Bounds,
    *,
    sort: Sequence[Sort] = (),
    selected: Selected = ALL,
) -> Page[Row]:
    entity = of_domain(domain_id)
    order = _order(entity, sort)
    statement = selected.of(entity, of_model(entity), _conditions(entity, wanted), order=order)
    return await paging.read(session, statement, order, bounds, selected)


async def count(session: AsyncSession, domain_id: str, wanted: Filter) -> int:
    return await paging.count(session, matching(of_domain(domain_id), wanted))


async def is_used(session: AsyncSession, protocol_id: str) -> bool:
    """Whether channels use the protocol. With the protocol locked, that stays so."""
    statement = select(exists().where(col(Channel.protocol_id) == protocol_id))
    return (await session.exec(statement)).one()


async def remove(session: AsyncSession, protocol: Protocol) -> None:
    """Delete the protocol, and its quota with it; what went through it stays known."""
    await session.exec(delete(Quota).where(col(Quota.protocol_id) == protocol.protocol_id))
    await session.exec(delete(Protocol).where(col(Protocol.protocol_id) == protocol.protocol_id))


def of_domain(domain_id: str) -> type[Protocol]:
    """An entity that stands for the domain's protocols, the INTERNAL one among them whether or not it is stored."""
    virtual, columns = internal(domain_id), Protocol.__table__.columns  # type: ignore[attr-defined]
    is_stored = exists().where(col(Protocol.protocol_id) == virtual.protocol_id)
    stored_rows = select(*columns).where(col(Protocol.domain_id) == domain_id)
    virtual_row = select(
        *(literal(getattr(virtual, column.key), column.type).label(column.key) for column in columns)
    ).where(~is_stored)
    return aliased(Protocol, union_all(stored_rows, virtual_row).subquery())


def matching(entity: type[Protocol], wanted: Filter) -> SelectOfScalar[Protocol]:
    return select(entity).where(*_conditions(entity, wanted))


def _seen_in(scope: Scope) -> type[Protocol]:
    return Protocol if scope.domain_id is None else of_domain(scope.domain_id)


def _conditions(entity: type[Protocol], wanted: Filter) -> list[ColumnElement[bool]]:
    equals = (
        (entity.protocol_id, wanted.protocol_id),
        (entity.name, wanted.name),
        (entity.state, wanted.state),
        (entity.protocol_type, wanted.protocol_type),
    )
    conditions = [col(column) == value for column, value in equals if value is not None]
    return [*conditions, *operators.conditions(fields.protocols_as(entity), wanted.question)]


def _order(entity: type[Protocol], sort: Sequence[Sort]) -> Order:
    newest_first = _newest_first(entity)
    return sorting.order(fields.protocols_as(entity), sort, otherwise=newest_first, unique=newest_first[-1:])


def _newest_first(entity: type[Protocol]) -> Order:
    return (
        paging.key("createdAt", entity.created_at, lambda row: row.created_at),
        paging.key("protocolId", entity.protocol_id, lambda row: row.protocol_id),
    )


ORDER = _newest_first(Protocol)
