"""Saying something once: what creates and pushes have in common, from the key that they claim to whom they wake.

Nobody is told before the commit. What is said, and to whom, is the caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import announcements, transaction
from resolvers.access import Caller
from resolvers.announcements import Reached
from resolvers.context import Server
from resolvers.errors import AlreadyExists, Refused
from storage import idempotency, notifications
from storage.creations import NewNotification
from storage.idempotency import Claim
from storage.models import IdempotencyKey, Notification
from storage.scope import Scope

Identity = Sequence[str]


@dataclass(frozen=True)
class Said:
    """What a create or a push led to."""

    notification: Notification | None  # the record, or the one inbox row; None on a replay after it was deleted
    notification_id: str
    recipient_count: int
    delivery_count: int
    replayed: bool = False


Say = Callable[[AsyncSession], Awaitable[tuple[Said, Reached]]]
SayEach = Callable[[Sequence[int]], Awaitable[tuple[Sequence[Said], Reached]]]  # of the calls with these numbers


def said(row: NewNotification, *, recipient_count: int, delivery_count: int) -> Said:
    return Said(cast(Notification, row), row.notification_id, recipient_count, delivery_count)


async def say(server: Server, caller: Caller, work: Say, *, claim: Claim | None) -> Said:
    """Say it, unless the call's key says that it was said before; then announce what was committed."""

    async def unless_said_before(session: AsyncSession) -> tuple[Sequence[Said | Refused], Reached]:
        async def it(numbers: Sequence[int]) -> tuple[Sequence[Said], Reached]:
            if not numbers:
                return [], Reached()
            said, reached = await work(session)
            return [said], reached

        return await unless_said(session, [claim], it)

    [outcome], reached = await transaction.write(server, caller, unless_said_before)
    await announcements.announce(server, reached)
    return _given(outcome)


async def unless_said(
    session: AsyncSession, claims: Sequence[Claim | None], work: SayEach
) -> tuple[Sequence[Said | Refused], Reached]:
    """Do the work for the calls whose keys are new, or who have none; what each call led to, now or when it was first.

    Keys are claimed before the work. Of calls with the same new key, the first is the one that does it.
    """
    given = [claim for claim in claims if claim is not None]
    taken: dict[Identity, IdempotencyKey | Claim] = {**await idempotency.claim(session, given)}
    new = _new(claims, taken)
    said, reached = await work(new)
    done: dict[int, Said | Refused] = dict(zip(new, said, strict=True))
    answered = {claim.identity: claim for claim in map(_answered, [claims[number] for number in new], said) if claim}
    await idempotency.answer(session, answered.values())
    taken |= answered
    for number, claim in enumerate(claims):
        if claim is not None and number not in done:
            done[number] = await _repeated(session, taken[claim.identity], claim)
    return [done[number] for number in range(len(claims))], reached


async def said_before(server: Server, claim: Claim | None) -> Said | None:
    """What the key's first call led to; None for a key that is new, as far as has been committed.

    For what is judged before its transaction: a repeat is answered as the first call was, whatever has changed since.
    """
    if claim is None:
        return None
    async with server.database.read() as session:
        taken = await idempotency.find(session, claim)
        return None if taken is None else _given(await _repeated(session, taken, claim))


def _new(claims: Sequence[Claim | None], taken: Collection[Identity]) -> list[int]:
    seen = set(taken)
    new = []
    for number, claim in enumerate(claims):
        if claim is None or claim.identity not in seen:
            new.append(number)
        if claim is not None:
            seen.add(claim.identity)
    return new


def _answered(claim: Claim | None, said: Said) -> Claim | None:
    if claim is None:
        return None
    counts = {"recipient_count": said.recipient_count, "delivery_count": said.delivery_count}
    return claim._replace(answer={"notification_id": said.notification_id, **counts})


async def _repeated(session: AsyncSession, taken: IdempotencyKey | Claim, claim: Claim) -> Said | Refused:
    if taken.body_hash != claim.body_hash:
        return AlreadyExists("This key was used for a call with another body.", field="idempotencyKey")
    answer: dict[str, Any] = taken.answer or {}
    row = await notifications.find(session, answer["notification_id"], Scope(None))
    return Said(notification=row, replayed=True, **answer)


def _given(outcome: Said | Refused) -> Said:
    if isinstance(outcome, Refused):
        raise outcome
    return outcome
