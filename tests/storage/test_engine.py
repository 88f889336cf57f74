"""Transactions: whole or not at all, run again where the database asks for that, and finished without their caller."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import ids, inboxes
from storage.dialects import database_time
from storage.engine import READERS, WRITE_ATTEMPTS, Database
from storage.errors import DatabaseUnavailable, TooCostly
from storage.models import Inbox, InboxKind


def _inbox(owner_id: str) -> Inbox:
    return Inbox(domain_id="d", kind=InboxKind.USER, owner_id=owner_id, generation=ids.new_generation())


async def test_a_failure_rolls_everything_back(database: Database) -> None:
    async def work(session: AsyncSession) -> None:
        session.add(_inbox("a"))
        await session.flush()
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(work)

    async with database.read() as session:
        assert await inboxes.known_users(session, "d", limit=1) == []


async def test_readers_do_not_see_what_is_not_committed(database: Database) -> None:
    async def work(session: AsyncSession) -> list[str]:
        session.add(_inbox("a"))
        await session.flush()
        async with database.read() as reader:
            return await inboxes.known_users(reader, "d", limit=1)

    assert await database.write(work) == []


async def test_everything_that_one_reader_asks_is_of_one_moment(database: Database) -> None:
    async with database.read() as reader:
        before = await inboxes.known_users(reader, "d", limit=1)
        await database.write(lambda session: inboxes.register(session, "d", ["late"]))
        assert await inboxes.known_users(reader, "d", limit=1) == before == []


async def test_an_id_that_was_drawn_twice_is_drawn_again(database: Database) -> None:
    await database.write(lambda session: inboxes.register(session, "d", ["taken"]))
    draws = iter(["taken", "taken", "free"])

    async def work(session: AsyncSession) -> None:
        session.add(_inbox(next(draws)))

    await database.write(work)

    async with database.read() as session:
        assert await inboxes.known_users(session, "d", limit=9) == ["free", "taken"]


async def test_a_transaction_that_never_succeeds_is_given_up(database: Database) -> None:
    await database.write(lambda session: inboxes.register(session, "d", ["taken"]))
    runs = 0

    async def work(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        session.add(_inbox("taken"))

    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.write(work)

    assert runs == WRITE_ATTEMPTS


LONG = text(
    "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 200000) SELECT count(*) FROM up"
)


async def test_a_time_limit_is_that_of_one_read(database: Database) -> None:
    for _ in range(READERS + 1):
        with pytest.raises(TooCostly):
            async with database.read(at_most=timedelta(milliseconds=1)) as session:
                await session.exec(LONG)  # type: ignore[call-overload]
        async with database.read() as session:
            assert (await session.exec(LONG)).scalar_one() == 200_000  # type: ignore[call-overload]


async def test_a_caller_that_leaves_does_not_cut_a_transaction_short(database: Database) -> None:
    begun, left, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(session: AsyncSession) -> None:
        begun.set()
        await left.wait()
        session.add(_inbox("a"))
        done.set()

    caller = asyncio.create_task(database.write(work))
    async with asyncio.timeout(10):
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        left.set()
        await done.wait()
        await database.write(lambda session: inboxes.register(session, "d", []))  # after it, on SQLite's one writer
        async with database.read() as session:
            while not await inboxes.known_users(session, "d", limit=1):
                await session.rollback()


async def test_the_database_clock_moves_by_its_offset(database: Database) -> None:
    async with database.read() as session:
        statement = select(database_time(), database_time(timedelta(seconds=90)))
        now, later = (await session.exec(statement)).one()

    assert 89 < (later - now).total_seconds() < 91


async def test_readers_cannot_write(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'tocsin.db'}")
    await database.open()
    async with database.read() as session:
        connection = await session.connection()
        with pytest.raises(Exception, match="readonly"):
            await connection.exec_driver_sql("CREATE TABLE t (a)")
    await database.close()


async def test_what_is_acknowledged_is_on_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'tocsin.db'}")
    await database.open()
    pragmas = await database.run_sync(
        lambda connection: {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
    )
    await database.close()

    assert pragmas == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/tocsin.db", "postgresql://nobody@127.0.0.1:1/none"])
async def test_a_database_that_does_not_answer_is_unavailable(url: str) -> None:
    database = Database(url)
    await database.open()

    with pytest.raises(DatabaseUnavailable):
        await database.write(lambda session: inboxes.register(session, "d", ["a"]))
    with pytest.raises(DatabaseUnavailable):
        async with database.read() as session:
            await inboxes.known_users(session, "d", limit=1)
    await database.close()
    assert not [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]


def test_only_the_two_engines_are_taken() -> None:
    with pytest.raises(ValueError, match="sqlite"):
        Database("mysql://localhost/tocsin")
