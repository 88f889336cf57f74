"""The order of domains' feeds: complete below the watermark, read from its index, and going on after a restore."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, event, text
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import feeds, inboxes
from storage.creations import NewNotification
from storage.engine import Database
from storage.feeds import Position
from storage.scope import Scope
from tests import recorded

BEGINNING = Position(0, 0)
DEADLINE_S = 20
NOW = datetime(2026, 1, 31, tzinfo=UTC)

only_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


async def _add(session: AsyncSession, domain_id: str = "d1", created_by: str = "backend") -> NewNotification:
    return await recorded.record(session, domain_id, now=NOW, created_by=created_by)


async def _commit(database: Database, domain_id: str = "d1", created_by: str = "backend") -> str:
    record = await database.write(lambda session: _add(session, domain_id, created_by))
    return record.notification_id


async def _read(database: Database, scope: Scope, position: Position = BEGINNING, limit: int = 100) -> list[str]:
    async with database.read() as session:
        return [row.notification_id for row in await feeds.after(session, scope, position, limit=limit)]


async def _end(database: Database) -> Position:
    async with database.read() as session:
        [*_, last] = await feeds.after(session, Scope("d1"), BEGINNING, limit=100)
        return feeds.position(last)


async def _standing(database: Database) -> feeds.Standing:
    async with database.read() as session:
        return await feeds.standing(session)


async def test_records_are_in_the_order_of_their_commits_where_these_came_one_by_one(database: Database) -> None:
    made = [await _commit(database) for _ in range(5)]
    await _commit(database, "d2")

    assert await _read(database, Scope("d1")) == made
    assert await _read(database, Scope("d1"), limit=2) == made[:2]
    assert await _read(database, Scope("d1"), await _end(database)) == []


async def test_those_of_one_transaction_stand_one_behind_the_other(database: Database) -> None:
    made = await database.write(lambda session: _several(session, 3))

    async with database.read() as session:
        rows = await feeds.after(session, Scope("d1"), BEGINNING, limit=2)
    assert [row.notification_id for row in rows] == made[:2]
    assert await _read(database, Scope("d1"), feeds.position(rows[0])) == made[1:]


async def _several(session: AsyncSession, count: int) -> list[str]:
    return [(await _add(session)).notification_id for _ in range(count)]


async def test_a_scope_narrows_to_whoever_made_them(database: Database) -> None:
    mine = await _commit(database, created_by="me")
    await _commit(database, created_by="you")

    assert await _read(database, Scope("d1", created_by="me")) == [mine]


async def test_what_is_committed_and_alone_is_complete(database: Database) -> None:
    await _commit(database)

    standing, end = await _standing(database), await _end(database)

    assert end.number < standing.complete <= standing.unused


async def test_a_number_is_not_used_again_when_the_last_record_is_gone(database: Database) -> None:
    await _commit(database)
    end, before = await _end(database), await _standing(database)
    await database.run_sync(_delete_everything)

    assert (await _standing(database)).complete >= before.complete
    made = await _commit(database)
    assert await _read(database, Scope("d1"), end) == [made]


def _delete_everything(connection: Connection) -> None:
    connection.execute(text("DELETE FROM notification"))
    connection.execute(text("DELETE FROM content"))


@only_postgres
async def test_nothing_is_complete_from_a_transaction_on_that_still_runs(database: Database) -> None:
    added, go_on = asyncio.Event(), asyncio.Event()

    async def work(session: AsyncSession) -> NewNotification:
        record = await _add(session)
        added.set()
        await go_on.wait()
        return record

    early = asyncio.ensure_future(database.write(work))
    async with asyncio.timeout(DEADLINE_S):
        await added.wait()
        late = await _commit(database)
        assert await _read(database, Scope("d1")) == [late]
        assert (await _standing(database)).complete <= (await _end(database)).number
        go_on.set()
        first = (await early).notification_id

    assert await _read(database, Scope("d1")) == [first, late]
    assert (await _standing(database)).complete > (await _end(database)).number


async def test_heads_are_those_of_the_domains_that_have_records(database: Database) -> None:
    owners = [inboxes.of_domain(domain_id) for domain_id in ("d1", "d2", "nobody's")]
    for domain_id in ("d1", "d2", "d1"):
        await _commit(database, domain_id)

    async with database.read() as session:
        heads = await feeds.heads(session, [*owners, inboxes.of_user("d1", "u"), inboxes.of_project("d1", "p")])
        assert await feeds.heads(session, []) == {}

    assert heads.keys() == {*owners[:2]}
    assert heads[owners[0]] == (await _end(database)).number > heads[owners[1]]


async def test_starting_again_changes_nothing(database: Database) -> None:
    await database.write(feeds.go_on)
    before = await _standing(database)
    if not database.is_sqlite:
        await _vacuum(database)

    await database.write(feeds.go_on)

    assert (await _standing(database)).generation == before.generation


async def _vacuum(database: Database) -> None:
    """As PostgreSQL itself does to rows that are old, and operators to tables that are large."""
    address = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(address)
    for how in ("FREEZE", "FULL"):
        await connection.execute(f"VACUUM ({how}) feed_epoch")
    await connection.close()


@only_postgres
async def test_where_it_was_restored_from_a_dump_the_feed_goes_on_in_another_generation(database: Database) -> None:
    await database.write(feeds.go_on)
    before = await _standing(database)
    old = [await _commit(database) for _ in range(2)]
    await database.run_sync(_restore)

    await database.write(feeds.go_on)

    assert (await _standing(database)).generation != before.generation
    new = [await _commit(database) for _ in range(2)]
    assert await _read(database, Scope("d1")) == [*old, *new]
    assert (await _end(database)).number < (await _standing(database)).complete


def _restore(connection: Connection) -> None:
    """What a dump does: it writes the rows anew, here from a server that had counted a billion transactions more."""
    connection.execute(text("UPDATE notification SET feed_at = feed_at + 1000000000"))
    connection.execute(text("CREATE TABLE dumped AS SELECT * FROM feed_epoch"))
    connection.execute(text("DELETE FROM feed_epoch"))
    connection.execute(text("INSERT INTO feed_epoch SELECT * FROM dumped"))


async def test_feeds_are_read_from_their_index(database: Database) -> None:
    await _commit(database)
    with _recorded(database) as statements:
        await _read(database, Scope("d1"), limit=10)
        async with database.read() as session:
            await feeds.heads(session, [inboxes.of_domain("d1")])

    assert len(statements) == 2
    for plan in await database.run_sync(partial(_plans, statements=statements)):
        assert "notification_by_feed" in plan
        assert "Seq Scan on notification" not in plan
        assert "SCAN notification" not in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


@contextmanager
def _recorded(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are read meanwhile, with what is bound in them."""
    statements: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    engine = database._reader.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    yield statements
    event.remove(engine, "before_cursor_execute", record)


def _plans(connection: Connection, statements: Sequence[tuple[str, Any]]) -> list[str]:
    """How these are run where tables are large: PostgreSQL reads small ones whole."""
    explain = "EXPLAIN QUERY PLAN"
    if connection.dialect.name == "postgresql":
        explain = "EXPLAIN"
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    plans = [connection.exec_driver_sql(f"{explain} {asked}", tuple(bound)).all() for asked, bound in statements]
    return ["\n".join(map(str, plan)) for plan in plans]
