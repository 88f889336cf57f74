"""A key belongs to the first transaction that commits with it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import idempotency
from storage.engine import Database
from storage.idempotency import Claim
from storage.models import IdempotencyKey, JsonObject
from tests.conftest import Clock


def _key(clock: Clock, key: str = "k", *, caller: str = "c") -> Claim:
    return Claim("d", caller, "createNotification", key, body_hash="h", created_at=clock.now)


async def _claim(session: AsyncSession, claim: Claim) -> IdempotencyKey | None:
    """The row that has the key, if it is not free."""
    return (await idempotency.claim(session, [claim])).get(claim.identity)


async def _answer(session: AsyncSession, claim: Claim, answer: JsonObject) -> None:
    await idempotency.answer(session, [claim._replace(answer=answer)])


async def test_a_key_is_free_once_and_then_tells_its_answer(database: Database, clock: Clock) -> None:
    async def first(session: AsyncSession) -> None:
        assert await _claim(session, _key(clock)) is None
        await _answer(session, _key(clock), {"notification_id": "n"})

    await database.write(first)
    taken = await database.write(lambda session: _claim(session, _key(clock)))

    assert taken is not None
    assert taken.answer == {"notification_id": "n"}


async def test_another_caller_has_keys_of_its_own(database: Database, clock: Clock) -> None:
    await database.write(lambda session: _claim(session, _key(clock)))

    assert await database.write(lambda session: _claim(session, _key(clock, caller="other"))) is None


async def test_a_key_of_a_transaction_that_failed_is_free(database: Database, clock: Clock) -> None:
    async def failing(session: AsyncSession) -> None:
        await _claim(session, _key(clock))
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(failing)

    assert await database.write(lambda session: _claim(session, _key(clock))) is None


async def test_a_concurrent_duplicate_waits_for_the_first_answer(database: Database, clock: Clock) -> None:
    claimed, released = asyncio.Event(), asyncio.Event()

    async def first(session: AsyncSession) -> None:
        await _claim(session, _key(clock))
        claimed.set()
        await released.wait()
        await _answer(session, _key(clock), {"answer": 1})

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(database.write(first))
        await claimed.wait()
        second = tasks.create_task(database.write(lambda session: _claim(session, _key(clock))))
        tasks.create_task(_set_soon(released))

    taken = second.result()
    assert taken is not None
    assert taken.answer == {"answer": 1}


async def _set_soon(event: asyncio.Event) -> None:
    event.set()


async def test_keys_past_their_time_are_swept(database: Database, clock: Clock) -> None:
    await database.write(lambda session: _claim(session, _key(clock, "old")))
    clock.advance(hours=1)
    await database.write(lambda session: _claim(session, _key(clock, "new")))

    before = clock.now - timedelta(minutes=30)
    await database.write(lambda session: idempotency.sweep(session, before=before))

    assert await database.write(lambda session: _claim(session, _key(clock, "old"))) is None
    assert await database.write(lambda session: _claim(session, _key(clock, "new"))) is not None
