"""Idempotency keys: the first answer to a keyed call, kept with the hash of what it asked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.engine import insert
from storage.models import IdempotencyKey


async def claim(session: AsyncSession, claimed: IdempotencyKey) -> IdempotencyKey | None:
    """Take this key first of all in a transaction: None when it was free, else the row that has it.

    A concurrent claim waits for the transaction that has the key, and then sees its answer or takes its place.
    """
    statement = insert(session, IdempotencyKey).values(claimed.model_dump()).on_conflict_do_nothing()
    if (await session.exec(statement.returning(col(IdempotencyKey.key)))).first():
        return None
    return (await session.exec(select(IdempotencyKey).where(*_is(claimed)))).one()


async def find(session: AsyncSession, claimed: IdempotencyKey) -> IdempotencyKey | None:
    """The row that has this key, with its answer, once its transaction has been committed."""
    return (await session.exec(select(IdempotencyKey).where(*_is(claimed)))).first()


async def answer(session: AsyncSession, claimed: IdempotencyKey, answer: dict[str, object]) -> None:
    """Keep the answer, in the transaction that claimed the key."""
    await session.exec(update(IdempotencyKey).where(*_is(claimed)).values(answer=answer))


async def sweep(session: AsyncSession, *, before: datetime) -> None:
    """Forget the keys claimed before an instant."""
    await session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < before))


def _is(claimed: IdempotencyKey) -> list[ColumnElement[bool]]:
    return [
        col(IdempotencyKey.domain_id) == claimed.domain_id,
        col(IdempotencyKey.caller) == claimed.caller,
        col(IdempotencyKey.operation) == claimed.operation,
        col(IdempotencyKey.key) == claimed.key,
    ]
