"""Idempotency keys: the first answer to a keyed call, kept with the hash of what it asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.models import IdempotencyKey, JsonObject
from storage.statements import Insert


class Claim(NamedTuple):
    """A keyed call, by what makes its key one of its own, and what it asked."""

    domain_id: str
    caller: str
    operation: str
    key: str
    body_hash: str
    created_at: datetime
    answer: JsonObject | None = None

    @property
    def identity(self) -> Sequence[str]:
        return self[:4]


_PRIMARY_KEY = "domain_id, caller, operation, key"
_CLAIM = Insert(IdempotencyKey, then=f"ON CONFLICT DO NOTHING RETURNING {_PRIMARY_KEY}")
_ANSWER = Insert(IdempotencyKey, then=f"ON CONFLICT ({_PRIMARY_KEY}) DO UPDATE SET answer = excluded.answer")


async def claim(session: AsyncSession, claims: Sequence[Claim]) -> dict[Sequence[str], IdempotencyKey]:
    """Take these keys first of all in a transaction: those that were not free, by identity, with the rows they have.

    Of several claims of one key, the first is kept. A concurrent claim waits for the transaction that has the key, and
    then sees its answer or takes its place.
    """
    wanted = {claim.identity: claim for claim in reversed(claims)}
    free = {tuple(identity) for identity in await _CLAIM.run(session, sorted(wanted.values()))}
    taken = {identity: await find(session, claim) for identity, claim in wanted.items() if identity not in free}
    return {identity: row for identity, row in taken.items() if row is not None}


async def find(session: AsyncSession, claim: Claim) -> IdempotencyKey | None:
    """The row that has this key, with its answer, once its transaction has been committed."""
    return (await session.exec(select(IdempotencyKey).where(*_is(claim)))).first()


async def answer(session: AsyncSession, answered: Collection[Claim]) -> None:
    """Keep these claims' answers, in the transaction that claimed the keys."""
    await _ANSWER.run(session, sorted(answered))


async def sweep(session: AsyncSession, *, before: datetime) -> None:
    """Forget the keys claimed before an instant."""
    await session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < before))


def _is(claim: Claim) -> list[ColumnElement[bool]]:
    return [
        col(IdempotencyKey.domain_id) == claim.domain_id,
        col(IdempotencyKey.caller) == claim.caller,
        col(IdempotencyKey.operation) == claim.operation,
        col(IdempotencyKey.key) == claim.key,
    ]
