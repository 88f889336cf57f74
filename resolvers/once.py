"""Saying something once: what creates and pushes have in common, from the key that they claim to whom they wake.

Nobody is told before the commit. What is said, and to whom, is the caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import fanout, idempotency, transaction
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.fanout import CHUNK, Reached
from storage import idempotency as idempotency_keys
from storage import notifications
from storage.models import IdempotencyKey, Notification
from storage.scope import Scope


@dataclass(frozen=True)
class Said:
    """What a create or a push led to."""

    notification: Notification | None  # the record, or the one inbox row; None on a replay after it was deleted
    notification_id: str
    recipient_count: int
    delivery_count: int
    replayed: bool = False


Say = Callable[[AsyncSession], Awaitable[tuple[Said, Reached]]]


async def say(server: Server, caller: Caller, work: Say, *, claim: IdempotencyKey | None) -> Said:
    """Say it, unless the call's key says that it was said before; then announce what was committed."""

    async def unless_said(session: AsyncSession) -> tuple[Said, Reached]:
        if claim is None:
            return await work(session)
        if taken := await idempotency_keys.claim(session, claim):
            return await _repeated(session, taken, claim), Reached()
        said, reached = await work(session)
        await idempotency_keys.answer(session, claim, _answer(said))
        return said, reached

    said, reached = await transaction.write(server, caller, unless_said)
    await fanout.announce(server, reached)
    if said.recipient_count > CHUNK:
        server.wake_fanout()
    return said


async def said_before(server: Server, claim: IdempotencyKey | None) -> Said | None:
    """What the key's first call led to; None for a key that is new, as far as has been committed.

    For what is judged before its transaction: a repeat is answered as the first call was, whatever has changed since.
    """
    if claim is None:
        return None
    async with server.database.read() as session:
        taken = await idempotency_keys.find(session, claim)
        return None if taken is None else await _repeated(session, taken, claim)


def _answer(said: Said) -> dict[str, object]:
    counts = {"recipient_count": said.recipient_count, "delivery_count": said.delivery_count}
    return {"notification_id": said.notification_id, **counts}


async def _repeated(session: AsyncSession, taken: IdempotencyKey, claim: IdempotencyKey) -> Said:
    answer: dict[str, Any] = idempotency.first_answer(taken, claim)
    row = await notifications.find(session, answer["notification_id"], Scope(None))
    return Said(notification=row, replayed=True, **answer)
