"""Protocols: in what way. No rules about plugins: options and secrets are stored as they come, secrets sealed.

Every domain has an INTERNAL protocol from the start. Nothing is stored for it until the domain's first write that
concerns protocols; until then reads select from the stored rows and a literal one beside them, so that filters,
pages and counts treat it like any other row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import ColumnElement, literal, union_all
from sqlalchemy.orm import aliased
from sqlalchemy.sql import operators as sql
from sqlmodel import col, delete, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import ids, paging
from storage.dialects import insert
from storage.models import Channel, Protocol, ProtocolType, Quota, ResourceState
from storage.paging import Order
from storage.queries import fields
from storage.queries.operators import EVERYTHING, Question
from storage.records import Records, narrowed
from storage.scope import Scope
from storage.selected import of_model

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


def in_scope(scope: Scope) -> Records[Filter]:
    """The domain's, the INTERNAL one among them whether or not it is stored. Without a domain, all that are stored."""
    entity = _entity(scope)
    asked, order = fields.protocols_as(entity), _newest_first(entity)
    return Records(entity, of_model(entity), asked, order, partial(_where, entity))


def _newest_first(entity: type[Protocol]) -> Order:
    return (
        paging.key("createdAt", entity.created_at, lambda row: row.created_at),
        paging.key("protocolId", entity.protocol_id, lambda row: row.protocol_id),
    )


def _where(entity: type[Protocol], wanted: Filter) -> list[ColumnElement[bool]]:
    return narrowed(
        sql.eq,
        (entity.protocol_id, wanted.protocol_id),
        (entity.name, wanted.name),
        (entity.state, wanted.state),
        (entity.protocol_type, wanted.protocol_type),
    )


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
    entity = _entity(scope)
    return (await session.exec(select(entity).where(col(entity.protocol_id) == protocol_id))).first()


async def lock(session: AsyncSession, protocol_id: str, scope: Scope) -> Protocol | None:
    """The stored protocol, not to be changed, nor channels added to it, by others until this transaction ends."""
    mine = narrowed(sql.eq, (Protocol.protocol_id, protocol_id), (Protocol.domain_id, scope.domain_id))
    return (await session.exec(select(Protocol).where(*mine).with_for_update())).first()


async def is_used(session: AsyncSession, protocol_id: str) -> bool:
    """Whether channels use the protocol. With the protocol locked, that stays so."""
    statement = select(exists().where(col(Channel.protocol_id) == protocol_id))
    return (await session.exec(statement)).one()


async def remove(session: AsyncSession, protocol: Protocol) -> None:
    """Delete the protocol, and its quota with it; what went through it stays known."""
    await session.exec(delete(Quota).where(col(Quota.protocol_id) == protocol.protocol_id))
    await session.exec(delete(Protocol).where(col(Protocol.protocol_id) == protocol.protocol_id))


def _entity(scope: Scope) -> type[Protocol]:
    """What stands for the protocols in scope, a domain's INTERNAL one among them whether or not it is stored."""
    if scope.domain_id is None:
        return Protocol
    domain_id = scope.domain_id
    virtual, columns = internal(domain_id), Protocol.__table__.columns  # type: ignore[attr-defined]
    is_stored = exists().where(col(Protocol.protocol_id) == virtual.protocol_id)
    stored_rows = select(*columns).where(col(Protocol.domain_id) == domain_id)
    virtual_row = select(
        *(literal(getattr(virtual, column.key), column.type).label(column.key) for column in columns)
    ).where(~is_stored)
    return aliased(Protocol, union_all(stored_rows, virtual_row).subquery())
