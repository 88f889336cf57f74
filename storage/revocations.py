"""Revocations: since when whose tokens are refused. Who may revoke, and what becomes of sockets, is for others."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.dialects import insert
from storage.models import Revocation


async def put(session: AsyncSession, revocation: Revocation) -> None:
    """Keep it, unless a later one of the same user is kept already."""
    statement = insert(session, Revocation).values(revocation.model_dump())
    later = statement.excluded.revoked_at
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["domain_id", "user_id"],
            set_={"revoked_at": later},
            where=col(Revocation.revoked_at) < later,
        )
    )


async def since(session: AsyncSession, instant: datetime | None) -> list[Revocation]:
    """Those of that instant and later; None: all of them."""
    statement = select(Revocation)
    if instant is not None:
        statement = statement.where(col(Revocation.revoked_at) >= instant)
    return list(await session.exec(statement))
